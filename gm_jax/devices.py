"""Operations across the devices that share a global batch, along one named axis.

`training.parallel` binds the axis in training and evaluation. Where it is not bound (`init`,
`eval_shape`, a method called by a notebook or a test), every function acts as on one device.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

Array = jax.Array
Tree = Any
AXIS = "batch"


def bound_axis() -> str | None:
    """Returns AXIS inside a function that is mapped over devices, else None."""
    try:
        jax.lax.axis_size(AXIS)
    except NameError:
        return None
    return AXIS


def count() -> int:
    """The number of devices that share the global batch."""
    return 1 if bound_axis() is None else jax.lax.axis_size(AXIS)


def mean(tree: Tree) -> Tree:
    """Averages every float32 leaf over the devices, in one all-reduce."""
    if bound_axis() is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.pmean(flat, AXIS))


def gather(x: Array) -> Array:
    """Gathers the global batch [B, ...] from the devices' shares."""
    return x if bound_axis() is None else jax.lax.all_gather(x, AXIS, tiled=True)


def index(count: int) -> Array:
    """The global numbers, int32 [count], of this device's `count` examples."""
    local = jnp.arange(count, dtype=jnp.int32)
    return local if bound_axis() is None else local + jax.lax.axis_index(AXIS) * count


def numbered(batch: dict[str, Array]) -> dict[str, Array]:
    """Adds `index`, int32 [B], the global number of each example, to a batch that lacks it."""
    if "index" in batch:
        return batch
    return {**batch, "index": index(len(next(iter(batch.values()))))}
