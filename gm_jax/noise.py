"""How noise is drawn."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Array = jax.Array


def draw_flat(
    sampler: Callable[..., Array], key: Array, shape: tuple[int, ...], **options: Any
) -> Array:
    """Draws noise of a shape by way of a vector.

    XLA's compiler for CPUs takes ten times as long over a draw in several dimensions (jaxlib
    0.10.2), and the program is slower.

    Args:
      sampler: of `jax.random`.
      key: one key.
      shape: of the noise.
      **options: of the sampler.

    Returns:
      `sampler(key, shape, **options)`, bit for bit.
    """
    return sampler(key, (math.prod(shape),), **options).reshape(shape)


def standard_logistic(key: Array, shape: tuple[int, ...]) -> Array:
    """Float32 standard logistic noise ln u − ln(1 − u), u in [1e-5, 1 − 1e-5] as published."""
    uniform = draw_flat(jax.random.uniform, key, shape, minval=1e-5, maxval=1.0 - 1e-5)
    return jnp.log(uniform) - jnp.log1p(-uniform)
