"""The split syntax of TFDS: 'train', 'train[:90%]', 'train[10%:]', 'train[:500]', 'train+test'."""

import re
from typing import NamedTuple

_SPLIT = re.compile(r"(?P<name>\w[\w-]*)(\[(?P<start>[^:\]]*):(?P<stop>[^:\]]*)\])?")
_BOUNDARY = re.compile(r"(?P<value>-?\d+(\.\d+)?)(?P<percent>%)?")


class SplitRange(NamedTuple):
    """Examples start..stop-1 of the split called name."""

    name: str
    start: int
    stop: int


def _boundary(text: str, size: int, default: int, split: str) -> int:
    """Returns a boundary as a position in 0..size; percents round to the closest example."""
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


def resolve_split(split: str, sizes: dict[str, int]) -> tuple[SplitRange, ...]:
    """Returns the ranges of examples that a split in TFDS syntax stands for.

    As in TFDS, percents are rounded to the closest example (`rounding='closest'`) and
    negative boundaries count from the end.

    Args:
      split: such as 'train', 'train[:90%]', 'train[-500:]' or 'train[:10%]+test'.
      sizes: number of examples of every split, by name.

    Returns:
      One range for every term of the sum.

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
