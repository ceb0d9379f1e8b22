"""Images in an .npz file: image, and optionally label, split and levels."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from gm_jax.data.fields import image_spec
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint

_SPLIT_NUMBERS = {0: "train", 1: "test", 2: "validation"}
_CHUNK_BYTES = 1 << 24


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Reads shape, Fortran order and dtype of an array, leaving its data to be read."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    return np.lib.format.read_array_header_2_0(member)


def _image_shape(path: Path) -> tuple[int, ...]:
    """Returns the shape of `image`, [N, H, W] or [N, H, W, C], without reading its pixels."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("image.npy") as member:
            shape, fortran_order, dtype = _read_header(member)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path}: not an .npz file ({error}); write it with np.savez") from None
    except KeyError:
        with np.load(path) as arrays:
            raise ValueError(f"{path}: no array 'image'; it has {arrays.files}") from None
    if dtype != np.uint8:
        raise ValueError(f"{path}: image is {dtype}; store uint8 values 0..levels-1")
    if len(shape) not in (3, 4) or 0 in shape:
        raise ValueError(f"{path}: image has shape {shape}; store [N, H, W] or [N, H, W, C]")
    if fortran_order:
        raise ValueError(f"{path}: image is in Fortran order; store np.ascontiguousarray(image)")
    return shape


def _split_rows(splits: np.ndarray | None, count: int, path: Path) -> dict[str, np.ndarray]:
    """Returns the rows of every split by its name; without splits every row is in train."""
    if splits is None:
        return {"train": np.arange(count)}
    if splits.dtype.kind not in "iuSU":
        raise ValueError(f"{path}: split is {splits.dtype}; store names, or 0 train, 1 test, ...")
    rows = {}
    for value in np.unique(splits):
        if splits.dtype.kind in "iu" and int(value) not in _SPLIT_NUMBERS:
            raise ValueError(f"{path}: split {value} is none of {_SPLIT_NUMBERS}")
        name = value.decode() if isinstance(value, bytes) else value
        name = _SPLIT_NUMBERS[int(value)] if splits.dtype.kind in "iu" else str(name)
        rows[name] = np.flatnonzero(splits == value)
    return rows


def _images(path: Path, shape: tuple[int, ...], rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the images of ascending rows, holding a few megabytes in memory at a time."""
    row_bytes = int(np.prod(shape[1:]))
    chunk = max(1, _CHUNK_BYTES // row_bytes)
    image_shape = shape[1:] if len(shape) == 4 else (*shape[1:], 1)
    with zipfile.ZipFile(path) as archive, archive.open("image.npy") as member:
        _read_header(member)
        for start in range(0, int(rows[-1]) + 1 if len(rows) else 0, chunk):
            data = member.read(min(chunk, shape[0] - start) * row_bytes)
            images = np.frombuffer(data, np.uint8).reshape(-1, *image_shape)
            first, last = np.searchsorted(rows, (start, start + chunk))
            yield from images[rows[first:last] - start]


def open_npz(path: str) -> Reader:
    """Returns the reader of an .npz file.

    Args:
      path: a file with `image` uint8 [N, H, W] or [N, H, W, C] and, as wanted, `label` integers
        [N] (-1: unlabelled), `split` [N] (names, or 0 train, 1 test, 2 validation) and `levels`
        (a number up to 256; 256 without it).

    Raises:
      ValueError: there is no such file, or an array is missing or is not as above.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"no file {file}; give npz:PATH")
    shape = _image_shape(file)
    with np.load(file, allow_pickle=False) as arrays:
        labels, splits = (arrays.get(key) for key in ("label", "split"))
        levels = int(arrays.get("levels", 256))
    for key, array in (("label", labels), ("split", splits)):
        if array is not None and array.shape != shape[:1]:
            raise ValueError(f"{file}: {key} has shape {array.shape}, expected {shape[:1]}")
    if labels is not None and labels.dtype.kind not in "iu":
        raise ValueError(f"{file}: label is {labels.dtype}; store integers 0..classes-1")
    if not 2 <= levels <= 256:
        raise ValueError(f"{file}: levels is {levels}; store a number from 2 to 256")
    rows = _split_rows(splits, shape[0], file)

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        wanted = rows[split][start:stop]
        for row, image in zip(wanted, _images(file, shape, wanted), strict=True):
            label = None if labels is None else int(labels[row])
            yield Example({"image": image, "label": label}, f"{file} image {row}")

    classes = None if labels is None else tuple(map(str, range(int(labels.max()) + 1)))
    sizes = {name: len(indices) for name, indices in rows.items()}
    fields = image_spec(UNDECODED, levels, None if classes is None else len(classes))
    return Reader(sizes, files_fingerprint([file]), fields, read, classes)
