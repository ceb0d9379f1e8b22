"""Operations across the devices that share a global batch, along one named axis.

`training.parallel` binds the axis in training and evaluation. Where it is not bound (`init`,
`eval_shape`, a method called by a notebook or a test), every function acts as on one device.
"""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

Array = jax.Array
Tree = Any
AXIS = "batch"
_micro_batches = contextvars.ContextVar("micro_batches", default=False)


@contextlib.contextmanager
def micro_batches() -> Iterator[None]:
    """Inside it (while a loss is traced on a part of a device's share) all exchange is refused.

    What examples of a batch tell each other, as batch statistics do, passes through this file.
    """
    token = _micro_batches.set(True)
    try:
        yield
    finally:
        _micro_batches.reset(token)


def bound_axis() -> str | None:
    """Returns AXIS inside a function that is mapped over devices, else None.

    Raises:
      ValueError: it is asked for inside `micro_batches`.
    """
    if _micro_batches.get():
        raise ValueError(
            "train.accumulate_steps is above 1, and a loss needs the whole batch at once, as batch "
            "statistics, free bits and symmetric discriminators do: set it to 1"
        )
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
