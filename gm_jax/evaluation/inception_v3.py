"""Inception-v3 as in the FID literature: the graph of 2015-12-05, not torchvision's later one."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.evaluation.resize import resize

NUM_FEATURES = 2048
NUM_CLASSES = 1008
_SMALLEST_SIDE = 75  # leaves one pixel at the last block
Step = Any  # of a branch, see below


class InceptionOutputs(NamedTuple):
    """features: float32 [B, 2048], average-pooled; logits: float32 [B, 1008], without bias."""

    features: jax.Array
    logits: jax.Array


# A convolution is (name, filters, (rows, columns)), with stride 1 and padding; a final 2 sets the
# stride to 2 and removes the padding. A branch is a chain of convolutions; a tuple of several at
# its end applies them in parallel and concatenates. 'average' and 'max' are 3 x 3 pools.
def _block_a(pool_filters: int) -> tuple[list[Step], ...]:
    return (
        [("branch1x1", 64, (1, 1))],
        [("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))],
        [
            ("branch3x3dbl_1", 64, (1, 1)),
            ("branch3x3dbl_2", 96, (3, 3)),
            ("branch3x3dbl_3", 96, (3, 3)),
        ],
        ["average", ("branch_pool", pool_filters, (1, 1))],
    )


_BLOCK_B: tuple[list[Step], ...] = (
    [("branch3x3", 384, (3, 3), 2)],
    [
        ("branch3x3dbl_1", 64, (1, 1)),
        ("branch3x3dbl_2", 96, (3, 3)),
        ("branch3x3dbl_3", 96, (3, 3), 2),
    ],
    ["max/2"],
)


def _block_c(filters: int) -> tuple[list[Step], ...]:
    return (
        [("branch1x1", 192, (1, 1))],
        [
            ("branch7x7_1", filters, (1, 1)),
            ("branch7x7_2", filters, (1, 7)),
            ("branch7x7_3", 192, (7, 1)),
        ],
        [
            ("branch7x7dbl_1", filters, (1, 1)),
            ("branch7x7dbl_2", filters, (7, 1)),
            ("branch7x7dbl_3", filters, (1, 7)),
            ("branch7x7dbl_4", filters, (7, 1)),
            ("branch7x7dbl_5", 192, (1, 7)),
        ],
        ["average", ("branch_pool", 192, (1, 1))],
    )


_BLOCK_D: tuple[list[Step], ...] = (
    [("branch3x3_1", 192, (1, 1)), ("branch3x3_2", 320, (3, 3), 2)],
    [
        ("branch7x7x3_1", 192, (1, 1)),
        ("branch7x7x3_2", 192, (1, 7)),
        ("branch7x7x3_3", 192, (7, 1)),
        ("branch7x7x3_4", 192, (3, 3), 2),
    ],
    ["max/2"],
)


def _block_e(pool: str) -> tuple[list[Step], ...]:
    return (
        [("branch1x1", 320, (1, 1))],
        [
            ("branch3x3_1", 384, (1, 1)),
            (("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))),
        ],
        [
            ("branch3x3dbl_1", 448, (1, 1)),
            ("branch3x3dbl_2", 384, (3, 3)),
            (("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))),
        ],
        [pool, ("branch_pool", 192, (1, 1))],
    )


_BLOCKS = (
    ("Mixed_5b", _block_a(32)),
    ("Mixed_5c", _block_a(64)),
    ("Mixed_5d", _block_a(64)),
    ("Mixed_6a", _BLOCK_B),
    ("Mixed_6b", _block_c(128)),
    ("Mixed_6c", _block_c(160)),
    ("Mixed_6d", _block_c(160)),
    ("Mixed_6e", _block_c(192)),
    ("Mixed_7a", _BLOCK_D),
    ("Mixed_7b", _block_e("average")),
    # The last pool is a max: an oversight in the original graph that every published number has.
    ("Mixed_7c", _block_e("max")),
)


class InceptionV3(nn.Module):
    """Szegedy et al. 2015 with the FID graph's details; modules are named as in its torch file."""

    @nn.compact
    def __call__(self, images: jax.Array) -> InceptionOutputs:
        """Features and logits.

        Args:
          images: [B, H, W, 3], float in 0..255 (resized to 299 x 299 for published numbers),
            sides at least 75.

        Returns:
          InceptionOutputs; the Inception score takes the logits without bias, like its authors'
          code.
        """
        if images.ndim != 4 or images.shape[-1] != 3 or min(images.shape[1:3]) < _SMALLEST_SIDE:
            raise ValueError(
                f"images are [B, H, W, 3] with sides of at least {_SMALLEST_SIDE}, got "
                f"{images.shape}"
            )
        x = (images.astype(jnp.float32) - 128.0) / 128.0
        x = ConvolutionBlock(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = ConvolutionBlock(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = ConvolutionBlock(64, (3, 3), name="Conv2d_2b_3x3")(x)
        x = nn.max_pool(x, (3, 3), (2, 2))
        x = ConvolutionBlock(80, (1, 1), name="Conv2d_3b_1x1")(x)
        x = ConvolutionBlock(192, (3, 3), 1, "VALID", name="Conv2d_4a_3x3")(x)
        x = nn.max_pool(x, (3, 3), (2, 2))
        for name, branches in _BLOCKS:
            x = MixedBlock(branches, name=name)(x)
        features = x.mean(axis=(1, 2))
        # The file also contains a bias; nothing published uses it.
        logits = nn.Dense(NUM_CLASSES, use_bias=False, precision="highest", name="fc")(features)
        return InceptionOutputs(features, logits)


class MixedBlock(nn.Module):
    """Parallel branches, concatenated over channels (one of Mixed_5b ... Mixed_7c)."""

    branches: Sequence[list[Step]]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        outputs = []
        for branch in self.branches:
            ends = [x]
            for step in branch:
                if isinstance(step, str):
                    ends = [_pool(ends[0], step)]
                elif isinstance(step[0], tuple):
                    ends = [_convolution(side)(ends[0]) for side in step]
                else:
                    ends = [_convolution(step)(ends[0])]
            outputs += ends
        return jnp.concatenate(outputs, axis=-1)


class ConvolutionBlock(nn.Module):
    """Convolution without bias, batch norm with its stored statistics (epsilon 1e-3), ReLU."""

    filters: int
    window: tuple[int, int]
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(
            self.filters,
            self.window,
            self.stride,
            self.padding,
            use_bias=False,
            precision="highest",  # TF32 or bfloat16 products change the distance
            name="conv",
        )(x)
        x = nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x)
        return nn.relu(x)


def inception_features(
    variables: Any, resize_method: str = "tf1"
) -> Callable[[np.ndarray | jax.Array], InceptionOutputs]:
    """The feature network as one jitted function of a batch of images.

    Args:
      variables: InceptionV3's, from `load_inception_weights`.
      resize_method: 'tf1' (comparable with papers) or 'clean'.

    Returns:
      uint8 [B, H, W, 1 or 3] in 0..255 (spread levels first) -> InceptionOutputs; grey images
      are repeated over three channels.
    """
    apply = jax.jit(
        lambda variables, images: InceptionV3().apply(variables, resize(images, resize_method))
    )

    def extract(images: np.ndarray | jax.Array) -> InceptionOutputs:
        if images.ndim != 4 or images.shape[-1] not in (1, 3) or images.dtype != jnp.uint8:
            raise ValueError(
                "images are uint8 [B, H, W, 1 or 3] in 0..255, got "
                f"{images.dtype} of shape {images.shape}"
            )
        if images.shape[-1] == 1:
            images = jnp.repeat(images, 3, axis=-1)
        return apply(variables, images)

    return extract


def _convolution(step: Step) -> ConvolutionBlock:
    name, filters, window, *stride = step
    if stride:
        return ConvolutionBlock(filters, window, stride[0], "VALID", name=name)
    return ConvolutionBlock(filters, window, name=name)


def _pool(x: jax.Array, kind: str) -> jax.Array:
    if kind == "average":
        # As in TensorFlow, the average excludes padding.
        return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
    if kind == "max":
        return nn.max_pool(x, (3, 3), padding="SAME")
    return nn.max_pool(x, (3, 3), (2, 2))
