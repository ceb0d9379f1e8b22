"""CycleGAN's networks (Zhu et al., 2017, section 7.2), as in the authors' code.

A layer before an instance norm has no biases: the norm subtracts them. In the code they stand, and
rounding alone moves them: 5,248 of the generator's 11,378,179 parameters, and 896 of the critic's
2,764,737.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array
KERNEL = nn.initializers.normal(0.02)
EPSILON = 1e-5  # torch's, in which the code is written
# Of a transposed convolution: torch's padding 1 and output_padding 1.
DOUBLING = ((1, 2), (1, 2))


def instance_norm(x: Array) -> Array:
    """Standardises each channel of each image, [B, H, W, C] to float32; it learns nothing.

    An image is normalised by itself, so there is nothing to share among devices.
    """
    x = x.astype(jnp.float32)
    mean, variance = jnp.mean(x, (1, 2), keepdims=True), jnp.var(x, (1, 2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + EPSILON)


def leaky_relu(x: Array) -> Array:
    """The critic's nonlinearity."""
    return nn.leaky_relu(x, 0.2)


class Generator(nn.Module):
    """Convolutions that halve an image, residual blocks, and convolutions that double it again.

    With widths (64, 128, 256) and 9 blocks it is c7s1-64, d128, d256, R256 × 9, u128, u64, c7s1-3
    of the paper (6 blocks for 128×128 pixels). Padding reflects the image, but for the strided
    convolutions, where it is of zeros.

    Attributes:
      channels: those of the images that it makes.
      widths: channels of the first convolution, and after each halving.
      num_blocks: the residual blocks.
      dtype: dtype of the convolutions.
    """

    channels: int
    widths: tuple[int, ...]
    num_blocks: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps images [B, H, W, C] to images float32 [B, H, W, channels] in [−1, 1]."""
        check_sides(x.shape[1:3], len(self.widths) - 1)
        options: dict[str, Any] = {"kernel_init": KERNEL, "dtype": self.dtype}
        conv = partial(nn.Conv, padding="REFLECT", kernel_init=KERNEL, dtype=self.dtype)
        first, *narrower = self.widths
        h = nn.relu(instance_norm(conv(first, (7, 7), use_bias=False)(x)))
        for features in narrower:
            halve = nn.Conv(features, (3, 3), (2, 2), padding=1, use_bias=False, **options)
            h = nn.relu(instance_norm(halve(h)))
        for _ in range(self.num_blocks):
            inside = conv(self.widths[-1], (3, 3), use_bias=False)(h)
            inside = conv(self.widths[-1], (3, 3), use_bias=False)(nn.relu(instance_norm(inside)))
            h = h + instance_norm(inside)
        for features in reversed(self.widths[:-1]):
            double = nn.ConvTranspose(
                features, (3, 3), (2, 2), padding=DOUBLING, use_bias=False, **options
            )
            h = nn.relu(instance_norm(double(h)))
        return jnp.tanh(conv(self.channels, (7, 7))(h).astype(jnp.float32))


def check_sides(sides: tuple[int, ...], num_halvings: int) -> None:
    """Refuses images that cannot be halved so often, or that are then too small to reflect."""
    factor = 2**num_halvings
    least = max(4, 2 * factor)
    if any(side % factor or side < least for side in sides):
        height, width = sides
        raise ValueError(
            f"images of {height}×{width} pixels: the generator halves them {num_halvings} times "
            f"(model.generator.widths), so sides are multiples of {factor}, from {least} on; set "
            f"data.resize to {max(least, min(sides) // factor * factor)}"
        )


class PatchCritic(nn.Module):
    """Judges overlapping patches of an image, each by one number.

    With widths (64, 128, 256, 512) it is C64-C128-C256-C512 of the paper, whose patches have 70×70
    pixels.

    Attributes:
      widths: channels of the convolutions; all but the last halve the image.
      dtype: dtype of the convolutions.
    """

    widths: tuple[int, ...]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to float32 [B, h, w], a number a patch."""
        num_halvings = len(self.widths) - 1
        least = 3 * 2**num_halvings
        if num_halvings < 1 or min(x.shape[1:3]) < least:
            raise ValueError(
                f"model.critic.widths is {self.widths}, on images of {x.shape[1]}×{x.shape[2]} "
                "pixels; give two widths or more, and a side from 3·2^(widths − 1) pixels on"
            )
        conv = partial(nn.Conv, kernel_size=(4, 4), padding=1, kernel_init=KERNEL, dtype=self.dtype)
        h = leaky_relu(conv(self.widths[0], strides=(2, 2))(x))
        for features in self.widths[1:-1]:
            h = leaky_relu(instance_norm(conv(features, strides=(2, 2), use_bias=False)(h)))
        h = leaky_relu(instance_norm(conv(self.widths[-1], use_bias=False)(h)))
        return conv(1)(h)[..., 0].astype(jnp.float32)
