"""What every source of images gives: named splits whose examples are read one after another."""

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from gm_jax.data.fields import DataSpec

_SECONDS = 30.0  # of silence, after which a line says how far a long reading is
_log = logging.getLogger(__name__)
Item = TypeVar("Item")

# Stands for the shape of images, which is known only after decoding, cropping and resizing.
UNDECODED = (-1, -1, -1)


class Example(NamedTuple):
    """One decoded example.

    Attributes:
      values: {field: array or number} for the reader's fields. An unknown label is -1, None or left
        out; every other field is present.
      name: names the example in error messages (a file, or a position).
    """

    values: Mapping[str, Any]
    name: str


@dataclass(frozen=True)
class Reader:
    """A source that has been found but not yet decoded.

    Attributes:
      split_sizes: number of examples of every split, by name.
      fingerprint: changes whenever the examples may have changed; part of the cache's key.
      fields: the fields of its examples; the shape of images is UNDECODED.
      read: (split, start, stop) -> examples start..stop-1 of that split, in order.
      drawn: what the source adds to its files at random, and from which seed; a run records it
        with its data. "": nothing.
    """

    split_sizes: dict[str, int]
    fingerprint: str
    fields: DataSpec
    read: Callable[[str, int, int], Iterator[Example]]
    drawn: str = ""


def files_fingerprint(files: Iterable[str | os.PathLike]) -> str:
    """Returns a hash of the files' absolute paths, sizes and modification times."""
    digest = hashlib.sha256()
    for file in files:
        status = os.stat(file)
        digest.update(os.fsencode(Path(file).absolute()))  # a name need not be UTF-8
        digest.update(f"|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def shown(items: Iterable[Item], label: str, count: int) -> Iterator[Item]:
    """Passes on `count` items that take minutes to read.

    On a terminal a bar counts them, elsewhere a line every half-minute.
    """
    bar = tqdm(items, label, count, leave=False, unit=" images", disable=None, delay=2)
    said = time.monotonic()
    for number, item in enumerate(bar, 1):
        yield item
        if bar.disable and time.monotonic() - said >= _SECONDS:
            said = time.monotonic()
            _log.warning("%s: %d of %d images", label, number, count)
