"""The DCGAN's networks (Radford et al., 2016) in the sizes that α-GAN takes (Rosca et al., 2017).

For CIFAR-10 and CelebA these are the networks of the Wasserstein GAN's code, 4×4 convolutions that
halve the image to 4×4 (H.4.2); for ColorMNIST those of Tables 3 and 4, 5×5 convolutions that the
generator starts at 7×7 (H.4.1). Kernels, scales and the positions of batch norm are those of the
code in both cases; the tables do not say theirs. Only an encoder's last layer has biases, as in the
code of AGE (Ulyanov et al., 2017).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.nn.batch_norm import BatchNorm
from gm_jax.nn.layers import PLAIN, Layers
from gm_jax.nn.noise import Dropout

Array = jax.Array
DECAY, EPSILON = 0.9, 1e-5  # batch norm's defaults in torch, in which the code is written
KERNEL = nn.initializers.normal(0.02)
Convolutions = tuple[tuple[int, int], ...]  # (channels, stride) of each, from the image


def scale(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Draws batch norm scales from N(1, .02²)."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def top_sides(image_shape: tuple[int, int, int], layers: Convolutions) -> tuple[int, int]:
    """Height and width of the generator's first feature maps: (7, 7) for 28×28 images.

    Raises:
      ValueError: a side of the images is no multiple of all strides together.
    """
    height, width, _ = image_shape
    factor = math.prod(stride for _, stride in layers)
    if height % factor or width % factor:
        below = min(height, width) // factor * factor
        raise ValueError(
            f"images of {height}×{width} pixels: the generator enlarges its feature maps {factor} "
            f"times (model.generator.layers), so sides are multiples of {factor}; set data.resize "
            f"to {f'{below} or ' if below else ''}{below + factor}"
        )
    return height // factor, width // factor


class Generator(nn.Module):
    """Transposed convolutions, each but the last followed by batch norm and ReLU.

    Attributes:
      image_shape: (H, W, C), as `top_sides` accepts.
      kernel_size: side of the kernels.
      layers: (channels, stride) of each convolution, from the image: the generator runs through
        them backwards, and its first feature maps have the channels of the last.
      output: maps the last convolution to the images.
      dtype: dtype of the convolutions.
    """

    image_shape: tuple[int, int, int]
    kernel_size: int
    layers: Convolutions
    output: Callable[[Array], Array] = jnp.tanh
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, train: bool = False) -> Array:
        """Maps latents [B, Z] to images float32 [B, H, W, C] in [−1, 1].

        In training it normalises with the global batch, and `batch_stats` must be mutable.
        """
        options = {"use_bias": False, "kernel_init": KERNEL, "dtype": self.dtype}
        height, width = top_sides(self.image_shape, self.layers)
        channels, strides = zip(*self.layers, strict=True)
        # This is a transposed convolution of a single pixel.
        h = nn.Dense(height * width * channels[-1], **options)(z)
        h = h.reshape(-1, height, width, channels[-1])
        outputs = (self.image_shape[-1], *channels[:-1])
        for features, stride in zip(reversed(outputs), reversed(strides), strict=True):
            h = nn.relu(BatchNorm(DECAY, EPSILON, scale)(h, train))
            sides = (self.kernel_size, self.kernel_size)
            h = nn.ConvTranspose(features, sides, (stride, stride), **options)(h)
        return self.output(h.astype(jnp.float32))


class Encoder(nn.Module):
    """Convolutions, each followed by batch norm and a leaky ReLU, then a linear layer.

    With a slope of 0 and batch norm everywhere this is α-GAN's encoder, the generator transposed;
    with a slope of .2 and batch norm on all layers but the first it is AGE's. (AGE's code ends in a
    4×4 convolution of stride 2 and average pooling, a linear layer with as many weights.)

    Attributes:
      num_latents: Z.
      kernel_size, layers: as for `Generator`.
      slope: slope of the leaky ReLU.
      first_batch_norm: whether the first convolution is followed by batch norm, too.
      dtype: dtype of the convolutions.
    """

    num_latents: int
    kernel_size: int
    layers: Convolutions
    slope: float
    first_batch_norm: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to latents float32 [B, Z].

        In training it normalises with the global batch, and `batch_stats` must be mutable.
        """

        def normalize(position: int, h: Array) -> Array:
            if position or self.first_batch_norm:
                h = BatchNorm(DECAY, EPSILON, scale)(h, train)
            return h

        conv = partial(nn.Conv, use_bias=False, kernel_init=KERNEL, dtype=self.dtype)
        active = partial(nn.leaky_relu, negative_slope=self.slope)
        h = convolved(x, conv, self.kernel_size, self.layers, normalize, active)
        z = nn.Dense(self.num_latents, kernel_init=KERNEL, dtype=self.dtype)(_flat(h))
        return z.astype(jnp.float32)


class Discriminator(nn.Module):
    """Convolutions, each but the first followed by batch norm; leaky ReLUs; a linear unit.

    A discriminator has no use after training, so it keeps no running statistics: it normalises with
    the global batch that it sees, which holds real images or made ones. The Wasserstein GAN's code
    averages the outputs over the batch; here each image has its own. Table 3 has two outputs, whose
    difference is the logit, and ten for classes that no model there uses.

    Attributes:
      kernel_size, layers: as for `Generator`.
      batch_norm: False omits it, which a penalty on each example's gradient requires.
      dropout_rate: share of the last feature maps' units that are dropped.
      kind: the kind of layers that it uses.
      dtype: dtype of the convolutions.
    """

    kernel_size: int
    layers: Convolutions
    batch_norm: bool
    dropout_rate: float = 0.0
    kind: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, index: Array | None = None) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to the logits of "real", float32 [B].

        Args:
          x: the images.
          index: int32 [B], the examples' numbers; their dropout (`rngs`) needs them.
        """

        def normalize(position: int, h: Array) -> Array:
            return BatchNorm(None, EPSILON, scale)(h, True) if self.batch_norm and position else h

        options = {"use_bias": False, "kernel_init": KERNEL, "dtype": self.dtype}
        conv = partial(self.kind.conv, **options)
        active = partial(nn.leaky_relu, negative_slope=0.2)
        h = convolved(x, conv, self.kernel_size, self.layers, normalize, active)
        if index is not None:
            h = Dropout(self.dropout_rate)(h, index, True)
        # At 4×4 this is a convolution to a single pixel.
        return self.kind.dense(1, **options)(_flat(h))[:, 0].astype(jnp.float32)


def convolved(
    x: Array,
    conv: Callable[..., Callable[[Array], Array]],
    kernel_size: int,
    layers: Convolutions,
    normalize: Callable[[int, Array], Array],
    activate: Callable[[Array], Array],
) -> Array:
    """The last feature maps; `normalize` is told a convolution's position."""
    for position, (features, stride) in enumerate(layers):
        convolve = conv(features, (kernel_size, kernel_size), (stride, stride))
        x = activate(normalize(position, convolve(x)))
    return x


def _flat(h: Array) -> Array:
    return h.reshape(h.shape[0], -1)
