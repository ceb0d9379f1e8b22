"""The weight of a divergence in the first steps (Bowman et al., 2016)."""

import jax
import jax.numpy as jnp

Array = jax.Array


def kl_warm_up(step: Array, start: float, steps: int) -> Array:
    """λ, which rises linearly from `start` to 1 over `steps`; 0 steps: 1. float32 []."""
    share = jnp.minimum(jnp.asarray(step, jnp.float32) / steps, 1.0) if steps else 1.0
    return jnp.asarray(start + (1.0 - start) * share, jnp.float32)
