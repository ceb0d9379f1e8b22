"""Images in an .npz file: image, and optionally label, split and levels."""

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from gm_jax.borders import reading
from gm_jax.data.fields import image_spec
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint

_SPLIT_NUMBERS = {0: "train", 1: "test", 2: "validation"}
_CHUNK_BYTES = 1 << 24
# If no label is smaller, labels are dates or archive numbers rather than classes.
_LEAST_ID = 1_000_000
_ANEW = "it is damaged: write the file anew"


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads shape, Fortran order and dtype of an array, and stops before its data."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)


def _image_shape(path: Path) -> tuple[int, ...]:
    """Returns the shape of `image`, [N, H, W] or [N, H, W, C], without reading its pixels."""
    header = None
    advice = "write an .npz file with np.savez"
    with reading(f"{path}: image", advice), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        for name in archive.namelist():
            archive.open(name).close()  # its name stands in the file twice
        if "image" in names:
            with archive.open("image.npy") as member:
                header = _read_header(member)
    if header is None:
        raise ValueError(f"{path}: no array 'image'; it has {names}")
    shape, fortran_order, dtype = header
    if dtype != np.uint8:
        raise ValueError(f"{path}: image is {dtype}; store uint8 values 0..levels-1")
    if len(shape) not in (3, 4) or min(shape) < 1:
        raise ValueError(f"{path}: image has shape {shape}; store [N, H, W] or [N, H, W, C]")
    if fortran_order:
        raise ValueError(f"{path}: image is in Fortran order; store np.ascontiguousarray(image)")
    return shape


def _read_array(path: Path, name: str, most: int) -> np.ndarray | None:
    """Reads one of the small arrays, with a maximum number of values; None if it is missing."""
    advice = "store an array of numbers or of text (np.asarray(column, str)), not of Python objects"
    with reading(f"{path}: {name}", advice), zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
        with archive.open(f"{name}.npy") as member:
            shape, _, dtype = _read_header(member)
        if math.prod(shape) <= most and not dtype.hasobject:  # else what follows refuses its shape
            with archive.open(f"{name}.npy") as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                member.read()  # to the end, where zipfile compares the checksum
            return array
    if math.prod(shape) > most:
        raise ValueError(f"{path}: {name} has shape {shape}, more than an entry for every image")
    raise ValueError(f"{path}: {name} cannot be read (Python objects); {advice}")


def _split_rows(splits: np.ndarray | None, count: int, path: Path) -> dict[str, np.ndarray]:
    """Returns {split: rows}; without splits every row is in train."""
    if splits is None:
        return {"train": np.arange(count)}
    if splits.dtype.kind not in "iuSU":
        raise ValueError(f"{path}: split is {splits.dtype}; store names, or 0 train, 1 test, ...")
    rows = {}
    for value in np.unique(splits):
        if splits.dtype.kind in "iu" and int(value) not in _SPLIT_NUMBERS:
            raise ValueError(f"{path}: split {value} is none of {_SPLIT_NUMBERS}")
        name = _SPLIT_NUMBERS[int(value)] if splits.dtype.kind in "iu" else _text(value)
        rows[name] = np.flatnonzero(splits == value)
    return rows


def _text(value: np.str_ | np.bytes_) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _classes(labels: np.ndarray, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the number of each image's class (-1 if it has none), and the class names.

    The classes are the sorted distinct values, so no work depends on how large a label is.
    """
    if labels.dtype.kind not in "iuSU":
        raise ValueError(f"{path}: label is {labels.dtype}; store integers, or names of classes")
    values, numbers = np.unique(labels, return_inverse=True)
    if labels.dtype.kind in "SU":
        return numbers, tuple(map(_text, values))
    known = values[values != -1] if labels.dtype.kind == "i" else values
    if len(known) and known[0] < 0:
        raise ValueError(f"{path}: label {known[0]} is negative; -1 alone, 'unlabelled', may be")
    if len(known) and known[0] >= _LEAST_ID:
        raise ValueError(
            f"{path}: labels lie in {known[0]}..{known[-1]}, which are ids rather than classes; "
            "store names of classes (text), or their numbers"
        )
    return numbers - (len(values) - len(known)), tuple(map(str, known))


def _images(path: Path, shape: tuple[int, ...], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the images at ascending rows, with a few megabytes in memory at a time."""
    row_bytes = math.prod(shape[1:])
    chunk = max(1, _CHUNK_BYTES // row_bytes)
    image_shape = shape[1:] if len(shape) == 4 else (*shape[1:], 1)
    with zipfile.ZipFile(path) as archive, archive.open("image.npy") as member:
        _read_header(member)
        for start in range(0, int(rows[-1]) + 1 if len(rows) else 0, chunk):
            images = _read_images(path, member, (min(chunk, shape[0] - start), *image_shape))
            first, last = np.searchsorted(rows, (start, start + chunk))
            yield from images[rows[first:last] - start]
        with reading(f"{path}: image", _ANEW):
            while member.read(_CHUNK_BYTES):  # to the end, where zipfile compares the checksum
                pass


def _read_images(path: Path, member: IO[bytes], shape: tuple[int, ...]) -> np.ndarray:
    """Reads the next images, uint8 `shape`."""
    with reading(f"{path}: image", _ANEW):
        return np.frombuffer(member.read(math.prod(shape)), np.uint8).reshape(shape)


def open_npz(path: str) -> Reader:
    """Returns a reader for an .npz file.

    Args:
      path: a file with `image` uint8 [N, H, W] or [N, H, W, C] and, optionally, `label` [N]
        (integers, whose sorted distinct values are the classes, with -1 for unlabelled; or class
        names), `split` [N] (names, or 0 train, 1 test, 2 validation) and `levels` (a number up to
        256, the default).

    Raises:
      ValueError: there is no such file, or an array is missing or not as above.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"no file {file}; give npz:PATH")
    shape = _image_shape(file)
    labels, splits, given = (
        _read_array(file, name, shape[0]) for name in ("label", "split", "levels")
    )
    for key, array in (("label", labels), ("split", splits)):
        if array is not None and array.shape != shape[:1]:
            raise ValueError(f"{file}: {key} has shape {array.shape}, expected {shape[:1]}")
    if given is not None and (given.size != 1 or given.dtype.kind not in "iu"):
        raise ValueError(f"{file}: levels is {given.dtype} {given.shape}; store one number")
    levels = 256 if given is None else int(given.item())
    if not 2 <= levels <= 256:
        raise ValueError(f"{file}: levels is {levels}; store a number from 2 to 256")
    rows = _split_rows(splits, shape[0], file)
    numbers, classes = (None, None) if labels is None else _classes(labels, file)

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        wanted = rows[split][start:stop]
        for row, image in zip(wanted, _images(file, shape, wanted), strict=True):
            label = None if numbers is None else int(numbers[row])
            yield Example({"image": image, "label": label}, f"{file} image {row}")

    sizes = {name: len(indices) for name, indices in rows.items()}
    # Caches of labels without gaps stay valid from before labels with gaps were renumbered.
    gaps = classes is not None and classes != tuple(map(str, range(len(classes))))
    fingerprint = files_fingerprint([file]) + (" classes are distinct labels" if gaps else "")
    return Reader(sizes, fingerprint, image_spec(UNDECODED, levels, classes), read)
