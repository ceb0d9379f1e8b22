"""Conversion of discrete images to continuous ones and back (thesis, 2.12.1)."""

import jax
import jax.numpy as jnp

from gm_jax.nn.noise import Noise

Array = jax.Array


def dequantize(image: Array, levels: int, noise: Noise) -> Array:
    """Adds uniform noise within each level: x = (v + u)/levels, in (0, 1).

    In the mean over the noise, ln p(x) − H·W·C·ln(levels) is a lower bound on the log-probability
    of the discrete image.

    Args:
      image: uint8 [B, H, W, C] in 0..levels−1.
      levels: number of values, 2..256.
      noise: the examples' noise.

    Returns:
      float32 [B, H, W, C].
    """

    # u is the middle of one of 2^15 steps: float32 holds v + u exactly for v ≤ 255, so it never
    # rounds to v + 1.
    fraction = ((noise.bits(*image.shape[1:]) >> 1).astype(jnp.float32) + 0.5) * 2.0**-15
    return (image.astype(jnp.float32) + fraction) / levels


def requantize(x: Array, levels: int) -> Array:
    """The level whose interval contains x, uint8 of the same shape: inverts `dequantize`.

    Args:
      x: float of any shape; values outside [0, 1] go to the end levels.
      levels: number of values, 2..256.
    """
    return jnp.clip(jnp.floor(x * levels), 0, levels - 1).astype(jnp.uint8)
