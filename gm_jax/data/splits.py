"""The split syntax of TFDS: 'train', 'train[:90%]', 'train[10%:]', 'train[:500]', 'train+test'."""

import re
from collections.abc import Collection
from typing import NamedTuple

_SPLIT = re.compile(r"(?P<name>\w[\w-]*)(\[(?P<start>[^:\]]*):(?P<stop>[^:\]]*)\])?")
_BOUND = re.compile(r"(?P<split>.*?) of (?P<source>\S+)")
# The names that folders, TFDS and archives give to the split for each use.
_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
SPLIT_NAMES = frozenset({"all", *(name for names in _NAMES.values() for name in names)})
_BOUNDARY = re.compile(r"(?P<value>-?\d+(\.\d+)?)(?P<percent>%)?")


class SplitRange(NamedTuple):
    """Examples start..stop-1 of the split `name`."""

    name: str
    start: int
    stop: int


def _boundary(text: str, size: int, default: int, split: str) -> int:
    """Returns a boundary as a position in 0..size; percentages round to the closest example."""
    if not text:
        return default
    match = _BOUNDARY.fullmatch(text)
    if match is None or (not match["percent"] and "." in text):
        raise ValueError(f"cannot read {text!r} in split {split!r}; write 500, -500, 90% or -10%")
    value = float(match["value"])
    position = round(value * size / 100.0) if match["percent"] else int(value)
    if abs(position) > size:
        raise ValueError(f"{text!r} in split {split!r} is outside its {size} examples")
    return position + size if text.startswith("-") else position


def bound_split(split: str, source: str) -> str:
    """The split that a config asks for from its source; '' means the source's own.

    A page binds splits to their source, as in 'train_augmented of digits', because they mean
    nothing for another source that a user may choose.

    Args:
      split: the config's split: '', 'train[:90%]', or 'SPLIT of SOURCE'.
      source: the config's source.
    """
    match = _BOUND.fullmatch(split)
    if match is None:
        return split
    return match["split"] if match["source"] == source else ""


def own_split(use: str, names: Collection[str]) -> str:
    """The split that a source has for a use: one with that name, or else a tenth of `train`.

    Args:
      use: 'train', 'validation' or 'test'.
      names: names of the source's splits.

    Returns:
      For example 'test', or 'train[90%:]' if there is none.

    Raises:
      ValueError: there is no split `train` to take it from.
    """
    found = {
        each: next((name for name in wanted if name in names), None)
        for each, wanted in _NAMES.items()
    }
    if found["train"] is None:
        raise ValueError(f"no split 'train' among {', '.join(sorted(names))}; name the splits")
    if use != "train" and found[use] is not None:
        return str(found[use])
    missing = [each for each in ("validation", "test") if found[each] is None]
    ends = [f"{100 - 10 * left}%" for left in range(len(missing), -1, -1)]  # e.g. 80, 90, 100 %
    if use == "train":
        return f"train[:{ends[0]}]" if missing else "train"
    start, stop = ends[missing.index(use) :][:2]
    return f"train[{start}:{'' if stop == '100%' else stop}]"


def resolve_split(split: str, sizes: dict[str, int]) -> tuple[SplitRange, ...]:
    """Returns the ranges of examples in a split in TFDS syntax.

    As in TFDS, percentages are rounded to the closest example (`rounding='closest'`), and negative
    boundaries count from the end.

    Args:
      split: such as 'train', 'train[:90%]', 'train[-500:]' or 'train[:10%]+test'.
      sizes: {name of a split: its number of examples}.

    Returns:
      A range for every term of the sum.

    Raises:
      ValueError: the split does not exist, cannot be read, or is empty.
    """
    ranges = []
    for term in split.split("+"):
        match = _SPLIT.fullmatch(term.strip())
        if match is None:
            raise ValueError(
                f"cannot read split {split!r}; write 'train', 'train[:90%]', 'train[10%:]', "
                "'train[:500]' or 'train+test'"
            )
        name = match["name"]
        if name not in sizes:
            raise ValueError(f"no split {name!r}; the splits are {', '.join(sorted(sizes))}")
        start = _boundary((match["start"] or "").strip(), sizes[name], 0, split)
        stop = _boundary((match["stop"] or "").strip(), sizes[name], sizes[name], split)
        if start >= stop:
            raise ValueError(
                f"{term!r} in split {split!r} holds no examples; {name!r} has {sizes[name]}"
            )
        ranges.append(SplitRange(name, start, stop))
    return tuple(ranges)
