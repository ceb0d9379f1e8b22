"""From discrete images to continuous ones and back (thesis, 2.12.1)."""

import jax
import jax.numpy as jnp

from gm_jax.nn import per_example
from gm_jax.noise import draw_flat

Array = jax.Array


def dequantize(image: Array, levels: int, key: Array, index: Array) -> Array:
    """Adds uniform noise within each level: x = (v + u)/levels, in (0, 1).

    The density of x, divided by levels^(H·W·C), is a lower bound on the probability of the discrete
    image, in the mean over the noise.

    Args:
      image: uint8 [B, H, W, C] in 0..levels−1.
      levels: number of values, 2..256.
      key: of the noise.
      index: int32 [B], of the examples, which keys their noise.

    Returns:
      float32 [B, H, W, C].
    """

    def draw(example_key: Array) -> Array:
        return draw_flat(jax.random.bits, example_key, image.shape[1:], dtype=jnp.uint16)

    bits = jax.vmap(draw)(per_example.keys(key, index))
    # The middles of 2^15 steps: float32 holds v + u exactly for v ≤ 255, and so never v + 1.
    noise = ((bits >> 1).astype(jnp.float32) + 0.5) * 2.0**-15
    return (image.astype(jnp.float32) + noise) / levels


def requantize(x: Array, levels: int) -> Array:
    """The level in whose interval x lies: the inverse of `dequantize`, uint8 of the same shape.

    Args:
      x: float of any shape; what lies outside of [0, 1] goes to the end levels.
      levels: number of values, 2..256.
    """
    return jnp.clip(jnp.floor(x * levels), 0, levels - 1).astype(jnp.uint8)
