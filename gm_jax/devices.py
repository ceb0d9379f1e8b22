"""The devices over which a global batch is split: one named axis, and what crosses it.

`training.parallel` binds the axis in training and in evaluation. Where it is not bound (`init`,
`eval_shape`, a method that a notebook or a test calls), every function here is that of one device.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

Array = jax.Array
Tree = Any
AXIS = "batch"


def bound_axis() -> str | None:
    """AXIS inside of a function that is mapped over devices; None elsewhere."""
    try:
        jax.lax.axis_size(AXIS)
    except NameError:
        return None
    return AXIS


def mean(tree: Tree) -> Tree:
    """The mean over the devices of every float32 leaf, in one all-reduce."""
    if bound_axis() is None:
        return tree
    flat, unravel = ravel_pytree(tree)
    return unravel(jax.lax.pmean(flat, AXIS))


def gather(x: Array) -> Array:
    """The global batch [B, ...] of which every device holds a share."""
    return x if bound_axis() is None else jax.lax.all_gather(x, AXIS, tiled=True)


def index(count: int) -> Array:
    """The global numbers, int32 [count], of the `count` examples that this device holds."""
    local = jnp.arange(count, dtype=jnp.int32)
    return local if bound_axis() is None else local + jax.lax.axis_index(AXIS) * count


def numbered(batch: dict[str, Array]) -> dict[str, Array]:
    """The batch with `index`, int32 [B], the global number of every example, if it has none."""
    if "index" in batch:
        return batch
    return {**batch, "index": index(len(next(iter(batch.values()))))}
