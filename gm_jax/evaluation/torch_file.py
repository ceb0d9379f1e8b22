"""Reads a table of tensors that torch.save wrote, without torch and without running its pickles."""

import collections
import math
import os
import pickle
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from gm_jax.borders import reading

_STORAGE_TYPES: dict[str, DTypeLike] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Tensors of a state dict saved by torch.save, in the zip or the older serialisation.

    Only names that describe tensors may occur in the pickle; anything else is refused before it
    is called, so that a hostile file cannot run code. Views are checked to lie in their storage.

    Args:
      path: file with a (flat) dict of names to tensors.

    Returns:
      {name: array}, arrays of their own.

    Raises:
      ValueError: not such a file, damaged, or it asks for a name that tensors do not need.
    """
    path = Path(path)
    with (
        reading(f"{path}", "give a file of tensors that torch.save wrote"),
        open(path, "rb") as file,
    ):
        table = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        if not isinstance(table, dict):
            raise TypeError(f"holds a {type(table).__name__}, not a table of tensors")
        return {name: value.array() for name, value in table.items() if isinstance(value, _Tensor)}


class _Storage:
    """A run of numbers that tensors view; `values` is filled in when its bytes are read."""

    def __init__(self, dtype: DTypeLike, num_elements: int):
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.num_elements = num_elements
        self.values: np.ndarray | None = None

    def fill(self, data: bytes) -> None:
        if len(data) != self.num_elements * self.dtype.itemsize:
            raise ValueError(f"a storage of {self.num_elements} {self.dtype} has {len(data)} bytes")
        self.values = np.frombuffer(data, self.dtype)


class _Tensor:
    """A strided view of a storage."""

    def __init__(
        self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        """The tensor; ValueError where it reaches out of its storage."""
        if not math.prod(self.shape):
            return np.zeros(self.shape, self.storage.dtype)
        reach = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        numbers = (self.offset, *self.shape, *self.strides)
        inside = min(numbers) >= 0 and self.offset + reach < self.storage.num_elements
        # Repeated elements (stride 0) could make a huge array of a small file.
        if not inside or math.prod(self.shape) > self.storage.num_elements:
            raise ValueError(f"a tensor of shape {self.shape} reaches outside its storage")
        if self.storage.values is None:
            raise ValueError("a tensor whose storage is not in the file")
        values = self.storage.values[self.offset :]
        strides = [step * values.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(values, self.shape, strides, writeable=False)
        return view.astype(values.dtype.newbyteorder("="))


def _rebuild_tensor(
    storage: object, offset: int, shape: Sequence[int], strides: Sequence[int], *unused: object
) -> _Tensor:
    """Stands for torch._utils._rebuild_tensor and _rebuild_tensor_v2."""
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _rebuild_parameter(data: object, *unused: object) -> object:
    """Stands for torch._utils._rebuild_parameter."""
    return data


class _StorageType:
    """Stands for torch.FloatStorage and its like."""

    def __init__(self, dtype: DTypeLike):
        self.dtype = dtype


_ALLOWED: dict[tuple[str, str], Callable[..., object] | _StorageType] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGE_TYPES.items()},
}


class _RestrictedUnpickler(pickle.Unpickler):
    """Knows the names in _ALLOWED and nothing else; gathers the storages that are mentioned."""

    def __init__(self, file: IO[bytes]):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which tensors do not need")
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, num_elements, *view = pid
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(view):
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        if key not in self.storages:
            self.storages[key] = _Storage(storage_type.dtype, int(num_elements))
        return self.storages[key]


def _read_zip(file: IO[bytes]) -> object:
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"a zip file with {len(pickles)} entries data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        names = set(archive.namelist())
        if folder + "byteorder" in names and archive.read(folder + "byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        with archive.open(pickles[0]) as stream:
            unpickler = _RestrictedUnpickler(stream)
            table = unpickler.load()
            stream.read()  # to the end, where zipfile compares the checksum
        for key, storage in unpickler.storages.items():
            entry = archive.getinfo(f"{folder}data/{key}")
            # torch does not compress; what does could make gigabytes of a few bytes.
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"storage {key} is compressed")
            storage.fill(archive.read(entry))
        return table


def _read_legacy(file: IO[bytes]) -> object:
    """Pickles of magic number, protocol, machine, table and keys; then the storages in order."""
    file.seek(0)
    if _RestrictedUnpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("neither of torch's two serialisations")
    protocol = _RestrictedUnpickler(file).load()
    if protocol != _LEGACY_PROTOCOL:
        raise ValueError(f"protocol {protocol}, known is {_LEGACY_PROTOCOL}")
    if not _RestrictedUnpickler(file).load().get("little_endian", True):
        raise ValueError("written on a big-endian machine")
    unpickler = _RestrictedUnpickler(file)
    table = unpickler.load()
    for key in _RestrictedUnpickler(file).load():
        storage = unpickler.storages[key]
        num_elements = int.from_bytes(file.read(8), "little")
        if num_elements != storage.num_elements:
            raise ValueError(
                f"storage {key} has {num_elements} elements, its tensors say {storage.num_elements}"
            )
        storage.fill(file.read(num_elements * storage.dtype.itemsize))
    return table
