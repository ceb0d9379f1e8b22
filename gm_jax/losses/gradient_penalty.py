"""The gradient penalty of Gulrajani et al. (2017)."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

Array = jax.Array
Tree = Any


def gradient_penalty(
    critic: Callable[[Tree], Array], real: Tree, fake: Tree, fraction: Array
) -> Array:
    """(‖∇D(x̂)‖₂ − 1)² at x̂ = ε·x + (1 − ε)·x̃ (Lucas et al., 2019, Eqs. 11–13, unweighted).

    The norm covers everything that belongs to an example. A critic may judge an image, a code or a
    tree of both, which is then interpolated between two pairs with the same ε.

    Args:
      critic: examples -> [B]; an example's output may depend on that example only.
      real, fake: x and x̃, arrays or trees of arrays, float [B, ...].
      fraction: ε in [0, 1], float [B].

    Returns:
      float32 [B], at least 0.
    """

    def mix(x: Array, y: Array) -> Array:
        epsilon = fraction.reshape(-1, *(1 for _ in x.shape[1:]))
        return epsilon * x + (1 - epsilon) * y

    between = jax.tree.map(mix, real, fake)
    gradient = jax.tree.leaves(jax.grad(lambda x: jnp.sum(critic(x)))(between))
    squares = cast(Array, sum(jnp.sum(leaf**2, tuple(range(1, leaf.ndim))) for leaf in gradient))
    # The small number keeps the root differentiable where the gradient is zero.
    return (jnp.sqrt(squares + 1e-12) - 1) ** 2
