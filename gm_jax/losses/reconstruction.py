"""Distances of images (or points, or features) from their reconstructions, [B]."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array
Distance = Callable[[Array, Array], Array]
REDUCTIONS = {"sum": jnp.sum, "mean": jnp.mean}


def l1(reduction: str) -> Distance:
    """Returns (x, y) -> ‖x − y‖₁, float [B, ...] -> [B].

    Args:
      reduction: whether the values of an example are summed or averaged, one of REDUCTIONS.

    Raises:
      ValueError: it is neither.
    """
    return _reduced(reduction, jnp.abs)


def half_squared(reduction: str) -> Distance:
    """Returns (x, y) -> ½‖x − y‖²: −ln N(x; y, I) but for a constant, if summed; see `l1`."""
    return _reduced(reduction, lambda difference: jnp.square(difference) / 2)


def _reduced(reduction: str, of: Callable[[Array], Array]) -> Distance:
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"model.reconstruction.reduction is '{reduction}'; choose among {', '.join(REDUCTIONS)}"
        )
    reduce = REDUCTIONS[reduction]
    return lambda x, y: reduce(of(x - y), axis=tuple(range(1, x.ndim)))
