"""MNIST's IDX files, plain or gzipped: MNIST, Fashion-MNIST, KMNIST, EMNIST, with their splits."""

import gzip
import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np

from gm_jax.borders import reading
from gm_jax.data.fields import image_spec
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint

_NAME = re.compile(r"((?P<set>.+)-)?(?P<split>train|t10k|test)-images[-.]idx3-ubyte(\.gz)?")
_SPLITS = {"train": "train", "t10k": "test", "test": "test"}
_CHUNK = 4096  # examples
_UBYTE = 8  # the code of the files' only type
_ANEW = "fetch it anew"


def open_idx(path: str) -> Reader:
    """Returns a reader for a folder of IDX files; classes are the distinct labels, ascending.

    Args:
      path: a folder with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same for
        `t10k`, plain or as `.gz`. If it holds several sets, as EMNIST's does, FOLDER/SET names one,
        such as `emnist-letters`. EMNIST's images are stored transposed; they are turned upright.

    Raises:
      ValueError: there are no such files, or one is not an IDX file, is truncated, or does not fit
        the other file of its split.
    """
    images = _found(Path(path).expanduser())
    labels = {split: _beside(file) for split, file in images.items()}
    sizes = {split: _shape(file, 3)[0] for split, file in images.items()}
    for split, file in labels.items():
        (count,) = _shape(file, 1)
        if count != sizes[split]:
            raise ValueError(f"{images[split]} has {sizes[split]} images, {file} {count} labels")
    values = np.unique([label for file in labels.values() for label in _rows(file, 1)])

    def read(split: str, start: int, stop: int) -> Iterator[Example]:
        file = images[split]
        pairs = zip(_rows(file, 3), _rows(labels[split], 1), strict=True)
        for row, (image, label) in enumerate(itertools.islice(pairs, start, stop), start):
            upright = image.T if file.name.startswith("emnist-") else image
            known = {"image": upright[..., None], "label": int(np.searchsorted(values, label))}
            yield Example(known, f"{file} image {row}")

    return Reader(
        sizes,
        files_fingerprint([*images.values(), *labels.values()]),
        image_spec(UNDECODED, 256, values.tolist()),
        read,
    )


def _found(path: Path) -> dict[str, Path]:
    """{split: its image file}, for the only set of a folder or for the named one."""
    folder, wanted = (path, None) if path.is_dir() else (path.parent, path.name)
    sets: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        match = _NAME.fullmatch(file.name)
        if match:  # a plain file comes before its .gz, and is preferred
            sets.setdefault(match["set"] or "", {}).setdefault(_SPLITS[match["split"]], file)
    if wanted is None and len(sets) == 1:
        (wanted,) = sets
    if wanted not in sets:
        known = ", ".join(f"{folder}/{name}" for name in sets)
        hint = f"; it holds several sets, choose among {known}" if sets else ""
        raise ValueError(
            f"no IDX files in {path}{hint}; give idx:FOLDER, which holds train-images-idx3-ubyte "
            "(or .gz) and its labels"
        )
    return sets[wanted or ""]


def _beside(images: Path) -> Path:
    """The label file of an image file, plain or gzipped."""
    name = images.name.replace("-images", "-labels").replace("idx3", "idx1").removesuffix(".gz")
    for candidate in (images.with_name(name), images.with_name(f"{name}.gz")):
        if candidate.is_file():
            return candidate
    raise ValueError(f"{images.with_name(name)} is missing; {images.name} has its labels there")


def _shape(path: Path, rank: int) -> tuple[int, ...]:
    with _opened(path) as file:
        return _header(file, path, rank)


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _header(file: IO[bytes], path: Path, rank: int) -> tuple[int, ...]:
    """Reads the shape: two zero bytes, the type, the rank, then 32 bits per dimension."""
    with reading(f"{path} is damaged and", _ANEW):
        magic, sides = file.read(4), file.read(4 * rank)
    shape = tuple(np.frombuffer(sides[: len(sides) // 4 * 4], ">u4").tolist())
    if magic != bytes((0, 0, _UBYTE, rank)) or len(shape) < rank or 0 in shape:
        what = "images [N, H, W]" if rank == 3 else "labels [N]"
        raise ValueError(f"{path} is no IDX file of {what}, uint8: it begins with {magic.hex()}")
    return shape


def _rows(path: Path, rank: int) -> Iterator[np.ndarray]:
    """Yields the rows of a file, with a few thousand in memory."""
    with _opened(path) as file:
        count, *sides = _header(file, path, rank)
        size = math.prod(sides)
        for start in range(0, count, _CHUNK):
            wanted = min(_CHUNK, count - start) * size
            last = start + _CHUNK >= count
            with reading(f"{path} is damaged and", _ANEW):
                # One more byte at the end makes gzip compare its checksum.
                data = file.read(wanted + last)
            if len(data) != wanted:
                what = "is cut short" if len(data) < wanted else "goes on after its last row"
                raise ValueError(f"{path} {what}, though it says {count} rows; fetch it anew")
            yield from np.frombuffer(data, np.uint8).reshape(-1, *sides)
