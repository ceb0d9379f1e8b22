"""Inception's published weights: found, checked, read without torch, converted once.

The file is never downloaded here. torch stores pickles, which can run code when they are read
carelessly: only the handful of names that a table of tensors needs is allowed.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.borders import reading
from gm_jax.evaluation.inception_v3 import InceptionV3
from gm_jax.evaluation.torch_file import read_torch_file

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
ENVIRONMENT_VARIABLE = "GM_JAX_INCEPTION_WEIGHTS"
# First digits of the sha256 of the canonical file, which torch's convention puts in its name.
CANONICAL_HASH_PREFIX = "6726825d"
_WHERE = (
    f"Get {FILE_NAME} (95 MB) from the release 'fid_weights' of the GitHub project "
    f"mseitzer/pytorch-fid, and name it by the argument or by the environment variable "
    f"{ENVIRONMENT_VARIABLE}. It is never downloaded here, and no other network stands in for it."
)
# Parts of torch's names -> (collection, name) in Flax.
_LEAVES = {
    "conv.weight": ("params", "conv/kernel"),
    "bn.weight": ("params", "bn/scale"),
    "bn.bias": ("params", "bn/bias"),
    "bn.running_mean": ("batch_stats", "bn/mean"),
    "bn.running_var": ("batch_stats", "bn/var"),
}
_UNUSED = re.compile(r"(^AuxLogits\.|^fc\.bias$|\.num_batches_tracked$)")


class InceptionWeights(NamedTuple):
    """variables: of InceptionV3, NumPy leaves; sha256: hex digest of the torch file they are from;
    is_canonical: whether that is the published file (only then a score is called IS or FID)."""

    variables: dict
    sha256: str
    is_canonical: bool


def load_inception_weights(
    path: str | os.PathLike | None = None, cache_dir: str | os.PathLike | None = None
) -> InceptionWeights:
    """Weights from the torch file (either serialisation) or from its conversion to npz.

    The first read of a torch file leaves `<its name>.npz` in cache_dir; later reads check the
    torch file's hash and take that.

    Args:
      path: .pth or .npz file; None takes it from the environment variable.
      cache_dir: folder for the conversion; None: beside the file (skipped where not writable).

    Returns:
      InceptionWeights.

    Raises:
      FileNotFoundError: no file, with its name, the environment variable and where to get it.
      ValueError: the hash is not the one in the file's name, or the layout is not Inception's.
    """
    path = path or os.environ.get(ENVIRONMENT_VARIABLE)
    if not path:
        raise FileNotFoundError(f"Inception needs its published weights. {_WHERE}")
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"no Inception weights at {path}. {_WHERE}")
    try:
        return _read(path, cache_dir)
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error


def _read(path: Path, cache_dir: str | os.PathLike | None) -> InceptionWeights:
    if path.suffix == ".npz":
        return _read_npz(path)
    digest = _check_hash(path)
    converted = Path(cache_dir or path.parent) / f"{path.stem}.npz"
    if converted.is_file():
        with contextlib.suppress(ValueError):  # a damaged one is written anew
            weights = _read_npz(converted)
            if weights.sha256 == digest:  # otherwise the npz is of another file of that name
                return weights
    variables = variables_from_state_dict(read_torch_file(path))
    with contextlib.suppress(OSError):  # a read-only folder costs a second at the next start
        _write_npz(converted, variables, digest)
    return InceptionWeights(variables, digest, digest.startswith(CANONICAL_HASH_PREFIX))


def variables_from_state_dict(state_dict: dict) -> dict:
    """Flax variables of InceptionV3 from arrays in the torch file's layout.

    Args:
      state_dict: {torch name: array}, such as Mixed_5b.branch1x1.conv.weight [O, I, H, W].

    Returns:
      {'params': ..., 'batch_stats': ...} of float32 NumPy arrays.

    Raises:
      ValueError: names are missing or unknown, or a shape is another network's.
    """
    flat = {}
    for name, array in state_dict.items():
        if _UNUSED.search(name):
            continue
        flat[_flax_name(name)] = _flax_layout(name, np.asarray(array, np.float32))
    return _check_layout(flat)


def _flax_name(name: str) -> str:
    if name == "fc.weight":
        return "params/fc/kernel"
    for ending, (collection, leaf) in _LEAVES.items():
        if name.endswith("." + ending):
            module = name[: -len(ending)].replace(".", "/")
            return f"{collection}/{module}{leaf}"
    raise ValueError(f"{name!r} is no weight of the FID literature's Inception-v3. {_WHERE}")


def _flax_layout(name: str, array: np.ndarray) -> np.ndarray:
    if name == "fc.weight":
        return array.T
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _check_layout(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    """Nests {'a/b': array} after comparing names and shapes with the network's own."""
    image = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    template = jax.eval_shape(InceptionV3().init, jax.random.key(0), image)
    paths = jax.tree_util.tree_flatten_with_path(template)[0]
    expected = {"/".join(part.key for part in path): leaf.shape for path, leaf in paths}
    missing, unknown = sorted(expected.keys() - flat), sorted(flat.keys() - expected)
    if missing or unknown:
        raise ValueError(
            f"not the weights of the FID literature's Inception-v3: {len(missing)} are missing "
            f"(first: {missing[:3]}), {len(unknown)} are unknown (first: {unknown[:3]}). {_WHERE}"
        )
    for name, shape in expected.items():
        if flat[name].shape != shape:
            raise ValueError(f"{name} has shape {flat[name].shape}, Inception-v3 has {shape}")
        if not np.isfinite(flat[name]).all():
            raise ValueError(f"{name} holds NaN or infinity: the weight file is damaged")
    structure = jax.tree_util.tree_structure(template)
    return jax.tree_util.tree_unflatten(structure, [flat[name] for name in expected])


def _check_hash(path: Path) -> str:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    in_name = re.search(r"-([0-9a-f]{8,64})\.", path.name)
    prefix = in_name.group(1) if in_name else CANONICAL_HASH_PREFIX
    if not digest.startswith(prefix):
        raise ValueError(
            f"{path} has sha256 {digest}, not {prefix}...: damaged or another file. {_WHERE}"
        )
    return digest


def _write_npz(path: Path, variables: dict[str, Any], digest: str) -> None:
    flat = {
        "/".join(part.key for part in keys): leaf
        for keys, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written aside and renamed: a reader never sees half a file.
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        try:
            np.savez(file, sha256=np.array(digest), **flat)
            file.close()
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _read_npz(path: Path) -> InceptionWeights:
    advice = "give the .pth file, which is converted anew"
    with reading(f"{path}: its arrays", advice), open(path, "rb") as file:  # NumPy's stays open
        archive = np.load(file, allow_pickle=False)
        flat = {name: archive[name] for name in archive.files}
    digest = str(flat.pop("sha256", ""))
    if not digest:
        raise ValueError(f"{path} has no entry 'sha256': it is no conversion of {FILE_NAME}")
    return InceptionWeights(_check_layout(flat), digest, digest.startswith(CANONICAL_HASH_PREFIX))
