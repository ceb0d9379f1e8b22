"""What every source gives: named splits whose images are read one after another."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Example(NamedTuple):
    """One decoded image.

    Attributes:
      image: uint8 [H, W, C].
      label: class index, -1 where unknown, None where the source has no labels.
      name: what an error message calls it (a file, or a position).
    """

    image: np.ndarray
    label: int | None
    name: str


@dataclass(frozen=True)
class Reader:
    """A source that has been found but not yet decoded.

    Attributes:
      split_sizes: number of images of every split, by name.
      fingerprint: changes whenever the images may have changed; part of the cache's key.
      levels: pixels lie in 0..levels-1.
      classes: names of the classes in the order of their labels, None without labels.
      read: (split, start, stop) -> examples start..stop-1 of that split, in order.
    """

    split_sizes: dict[str, int]
    fingerprint: str
    levels: int
    classes: tuple[str, ...] | None
    read: Callable[[str, int, int], Iterator[Example]]


def files_fingerprint(files: Iterable[str | os.PathLike]) -> str:
    """Returns a hash of the files' absolute paths, sizes and modification times."""
    digest = hashlib.sha256()
    for file in files:
        status = os.stat(file)
        digest.update(f"{Path(file).absolute()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
