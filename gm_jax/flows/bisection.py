"""Roots of increasing functions, for the inverses of layers that have no closed one."""

from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp

Array = jax.Array
HALVINGS = 40  # of a bracket; 24 exhaust float32 where it is as wide as the root is large


def increasing_root(
    function: Callable[[Array], Array], centre: Array, radius: Array, halvings: int = HALVINGS
) -> Array:
    """The root of an increasing function of each element, in centre ± radius, by bisection.

    It is off by at most radius/2^halvings, and by what rounding does to the function. It is
    differentiable in what the function depends on, by the implicit function theorem.
    """

    def solve(function: Callable[[Array], Array], start: Array) -> Array:
        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = (low + high) / 2
            above = function(middle) > 0
            return jnp.where(above, low, middle), jnp.where(above, middle, high)

        low, high = jax.lax.fori_loop(0, halvings, halve, (start - radius, start + radius))
        return (low + high) / 2

    def divide(slope: Callable[[Array], Array], y: Array) -> Array:
        return y / slope(jnp.ones_like(y))

    return cast(Array, jax.lax.custom_root(function, centre, solve, divide))
