"""The gradient penalty of Gulrajani et al. (2017)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array


def gradient_penalty(
    critic: Callable[[Array], Array], real: Array, fake: Array, fraction: Array
) -> Array:
    """(‖∇D(x̂)‖₂ − 1)² at x̂ = ε·x + (1 − ε)·x̃ (Lucas et al., 2019, Eqs. 11–13, without weight).

    The norm is over all pixels and channels of an image.

    Args:
      critic: [B, H, W, C] -> [B]; an example's output may depend on that example alone.
      real, fake: x and x̃, float [B, H, W, C].
      fraction: ε in [0, 1], float [B].

    Returns:
      float32 [B], at least 0.
    """
    fraction = fraction[:, None, None, None]
    between = fraction * real + (1 - fraction) * fake
    gradient = jax.grad(lambda x: jnp.sum(critic(x)))(between)
    # The small number keeps the root differentiable where the gradient is zero.
    norm = jnp.sqrt(jnp.sum(gradient**2, axis=(1, 2, 3)) + 1e-12)
    return (norm - 1) ** 2
