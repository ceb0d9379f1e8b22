"""Generator and discriminator of the DCGAN (Radford et al., 2016), in the form that the Wasserstein
GAN's code and α-GAN (Rosca et al., 2017) use.

All convolutions are 4×4 without bias; the published number of latents is 100. The discriminator
returns a logit per image, whereas the Wasserstein GAN's code averages its outputs over the batch.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.networks.top_down_vae import STRIDED
from gm_jax.nn.batch_norm import BatchNorm
from gm_jax.nn.layers import PLAIN, Layers

Array = jax.Array
DECAY, EPSILON = 0.9, 1e-5  # batch norm's defaults in torch, in which the code is written
TOP = 4  # side of the smallest feature maps
KERNEL = nn.initializers.normal(0.02)


def scale(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """Draws batch norm scales from N(1, .02²)."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def widths(image_shape: tuple[int, int, int], features: int = 64) -> tuple[int, ...]:
    """Channels of the strided layers, doubled down to 4×4: (64, 128, 256) for 32×32 images.

    Raises:
      ValueError: the images are not square with a side of 8, 16, 32, … pixels.
    """
    height, width, _ = image_shape
    halvings = (height // TOP).bit_length() - 1
    if height != width or halvings < 1 or height != TOP * 2**halvings:
        raise ValueError(
            f"images of {height}×{width} pixels do not halve to {TOP}×{TOP}; set data.resize to 8, "
            "16, 32, 64 or 128"
        )
    return tuple(features * 2**layer for layer in range(halvings))


class Generator(nn.Module):
    """Transposed convolutions, each but the last followed by batch norm and ReLU.

    Attributes:
      image_shape: (H, W, C), as `widths` accepts.
      features: channels of the last feature maps; they double with each halving of the resolution.
      layers: the kind of layers that it uses.
      dtype: dtype of the convolutions.
    """

    image_shape: tuple[int, int, int]
    features: int = 64
    layers: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, train: bool = False) -> Array:
        """Maps latents [B, Z] to images float32 [B, H, W, C] in [−1, 1].

        In training it normalises with the global batch, and `batch_stats` must be mutable.
        """
        options = {"use_bias": False, "kernel_init": KERNEL, "dtype": self.dtype}
        *below, top = widths(self.image_shape, self.features)
        # This is a transposed convolution of a single pixel.
        h = self.layers.dense(TOP * TOP * top, **options)(z).reshape(-1, TOP, TOP, top)
        for width in (*reversed(below), self.image_shape[-1]):
            h = nn.relu(BatchNorm(DECAY, EPSILON, scale)(h, train))
            h = self.layers.deconv(width, **STRIDED, **options)(h)
        return jnp.tanh(h.astype(jnp.float32))


class Discriminator(nn.Module):
    """Strided convolutions, each but the first and last followed by batch norm; leaky ReLU.

    Attributes:
      features: channels after the first convolution; they double with each halving.
      batch_norm: False omits it, which a penalty on each example's gradient requires.
      layers: the kind of layers that it uses.
      dtype: dtype of the convolutions.
    """

    features: int = 64
    batch_norm: bool = True
    layers: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to the logits of "real", float32 [B].

        In training it normalises with the global batch, and `batch_stats` must be mutable.
        """
        options = {"use_bias": False, "kernel_init": KERNEL, "dtype": self.dtype}
        active = partial(nn.leaky_relu, negative_slope=0.2)
        _, height, width, channels = x.shape
        for layer, features in enumerate(widths((height, width, channels), self.features)):
            x = self.layers.conv(features, **STRIDED, **options)(x)
            if self.batch_norm and layer:
                x = BatchNorm(DECAY, EPSILON, scale)(x, train)
            x = active(x)
        # This is a convolution to a single pixel.
        logits = self.layers.dense(1, **options)(x.reshape(x.shape[0], -1))
        return logits[:, 0].astype(jnp.float32)
