"""The tree of arrays in a checkpoint: whether it fits a template, and where to restore it."""

import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath


class MismatchError(ValueError):
    """An intact checkpoint holds a state other than the requested one."""


def as_array(leaf: Any) -> jax.Array | np.ndarray:
    """Converts a leaf to what orbax accepts: NumPy's and Python's scalars become arrays."""
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def check_same(folder: epath.Path, saved: Any, template: Any) -> None:
    """Compares names, shapes and dtypes of what was saved with what is requested.

    Args:
      folder: the checkpoint, for the message.
      saved: orbax's metadata of the item `state`.
      template: the tree to restore, whose leaves have shape and dtype.

    Raises:
      MismatchError: they differ; the message shows the first three arrays that do.
    """
    old, new = _described(saved), _described(template)
    different = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    if different:
        shown = [
            f"{name}: {old.get(name, 'absent')} saved, {new.get(name, 'absent')} expected"
            for name in different[:3]
        ]
        raise MismatchError(
            f"checkpoint {folder} is of another model or optimizer: {len(different)} of "
            f"{len(old | new)} arrays differ ({'; '.join(shown)}). Use the config that the run "
            "was trained with (config.json), or another --workdir"
        )


def targets(template: Any) -> Any:
    """What orbax restores into: arrays on the template's shardings, or NumPy if it has none.

    Without either, orbax would look for the same devices that saved the checkpoint.
    """

    def target(leaf: Any) -> Any:
        sharding = getattr(leaf, "sharding", None)
        if sharding is None:
            return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(target, template)


def placed(template: Any, restored: Any) -> Any:
    """The restored tree, with its NumPy arrays on the default device, like fresh ones."""

    def place(leaf: Any, array: Any) -> jax.Array:
        # Copied, because an array that shares NumPy's memory must not be donated.
        return array if getattr(leaf, "sharding", None) is not None else jnp.array(array)

    return jax.tree.map(place, template, restored)


def checksums(state: Any) -> dict[str, int]:
    """{array: CRC-32 of its values}; the storage has checksums of its indices, not of arrays."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): zlib.crc32(_bytes(leaf).data)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def check_sums(saved: Mapping[str, int], restored: Any) -> None:
    """Compares with `checksums` of what was saved.

    Raises:
      ValueError: an array is another.
    """
    found = checksums(restored)
    damaged = [name for name in found if found[name] != saved.get(name)]
    if damaged:
        raise ValueError(f"the values of {damaged[0]} are not those that were saved")


def _bytes(leaf: Any) -> np.ndarray:
    """The bytes of an array, of one on several devices those of the first copy."""
    here = leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf
    return np.ascontiguousarray(here).reshape(-1).view(np.uint8)


def first_difference(saved: Any, found: Any) -> str | None:
    """Names an array of a tree that differs in a bit from another tree's; None if all agree."""
    for (path, ours), theirs in zip(
        jax.tree_util.tree_leaves_with_path(saved), jax.tree.leaves(found), strict=True
    ):
        if not np.array_equal(_bytes(ours), _bytes(theirs)):
            return f"{jax.tree_util.keystr(path, simple=True, separator='/')} is another"
    return None


def _described(tree: Any) -> dict[str, str]:
    """{'params/network/kernel': 'float32[3, 4]'}, both for a state and for orbax's metadata."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
