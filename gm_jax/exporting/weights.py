"""Parameters as safetensors: the format in which models are exchanged, which holds no code.

The library is the field's standard and maintained. It knows no checksums, so `export.json` has one.
"""

import hashlib
import importlib.util
from typing import Any

import jax
import numpy as np
from etils import epath

from gm_jax.borders import reading

Tree = Any
FILE_NAME = "model.safetensors"


def check_libraries(*names: str) -> None:
    """Refuses to go on without libraries of the extra `export`, before anything is computed.

    Raises:
      ValueError: one is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"exports need {', '.join(missing)}: pip install -e '.[export]'")


def flatten(variables: Tree) -> dict[str, Any]:
    """{"network/collection/…/name": leaf}, from {network: {collection: tree}}."""
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    flat = {_name(place): leaf for place, leaf in leaves}
    assert len(flat) == len(leaves)  # no name holds a slash that makes it another's
    return flat


def unflatten(flat: dict[str, Any], template: Tree) -> Tree:
    """The leaves of `flatten`, in the tree `template`."""
    return jax.tree_util.tree_map_with_path(lambda place, _: flat[_name(place)], template)


def write(path: epath.Path, variables: Tree) -> str:
    """Writes variables; returns the file's SHA-256 in hexadecimal."""
    from safetensors.numpy import save  # of the extra `export`

    arrays = {name: np.array(leaf, order="C") for name, leaf in flatten(variables).items()}
    encoded = save(arrays, {"format": "np"})
    path.write_bytes(encoded)
    return hashlib.sha256(encoded).hexdigest()


def read(path: epath.Path, sha256: str, template: Tree) -> Tree:
    """Reads variables, as NumPy arrays in the tree `template` of shapes and dtypes.

    Raises:
      ValueError: safetensors is not installed; or the file is damaged, or of another model.
    """
    check_libraries("safetensors")
    from safetensors.numpy import load

    with reading(f"{path} is damaged and", "copy the export anew"):
        encoded = path.read_bytes()
        found = load(encoded)
        if hashlib.sha256(encoded).hexdigest() != sha256:
            raise ValueError("its SHA-256 is not the one that export.json names")
        wanted = flatten(template)
        different = [
            name
            for name in sorted(found.keys() | wanted.keys())
            if _described(found.get(name)) != _described(wanted.get(name))
        ]
        if different:
            raise ValueError(f"it is of another model: {', '.join(different[:3])} differ")
        return unflatten(found, template)


def _described(leaf: Any) -> tuple[Any, ...] | None:
    return None if leaf is None else (tuple(leaf.shape), np.dtype(leaf.dtype).name)


def _name(place: Any) -> str:
    return jax.tree_util.keystr(place, simple=True, separator="/")
