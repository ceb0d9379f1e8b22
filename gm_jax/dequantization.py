"""Conversion of discrete images to continuous ones and back (thesis, 2.12.1)."""

import jax
import jax.numpy as jnp

from gm_jax.nn.noise import Noise

Array = jax.Array
Interval = tuple[float, float]
CENTRED: Interval = (-1.0, 1.0)  # that of a GAN's images


def dequantize(image: Array, levels: int, noise: Noise, interval: Interval = (0.0, 1.0)) -> Array:
    """Adds uniform noise within each level: x = low + (high − low)·(v + u)/levels.

    In the mean over the noise, ln p(x) + H·W·C·ln((high − low)/levels) is a lower bound on the
    log-probability of the discrete image.

    Args:
      image: uint8 [B, H, W, C] in 0..levels−1.
      levels: number of values, 2..256.
      noise: the examples' noise.
      interval: (low, high).

    Returns:
      float32 [B, H, W, C], inside the interval.
    """
    return place(image, uniform(noise, *image.shape[1:]), levels, interval)


def uniform(noise: Noise, *shape: int) -> Array:
    """Draws u from the middles of 2^15 steps of [0, 1], float32 [B, *shape].

    float32 holds v + u exactly for levels v ≤ 255, so it never rounds to v + 1.
    """
    return ((noise.bits(*shape) >> 1).astype(jnp.float32) + 0.5) * 2.0**-15


def place(image: Array, fraction: Array, levels: int, interval: Interval) -> Array:
    """low + (high − low)·(v + u)/levels for levels v, uint8, and u in (0, 1) of the same shape."""
    low, high = interval
    return low + (high - low) * ((image.astype(jnp.float32) + fraction) / levels)


def requantize(x: Array, levels: int, interval: Interval = (0.0, 1.0)) -> Array:
    """The level whose interval contains x, uint8 of the same shape: inverts `dequantize`.

    Args:
      x: float of any shape; values outside the interval go to the end levels.
      levels: number of values, 2..256.
      interval: (low, high).
    """
    low, high = interval
    share = (x - low) / (high - low)
    return jnp.clip(jnp.floor(share * levels), 0, levels - 1).astype(jnp.uint8)
