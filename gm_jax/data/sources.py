"""Data sets by name: 'digits', 'tfds:NAME', 'points:ring', 'pair:A|B', 'colored:SOURCE' …."""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gm_jax.data import cache
from gm_jax.data.binary import binary
from gm_jax.data.colored import colored
from gm_jax.data.dataset import Dataset
from gm_jax.data.digits import open_digits
from gm_jax.data.folder import open_folder, sizes_of_folder
from gm_jax.data.idx import open_idx
from gm_jax.data.npz import open_npz
from gm_jax.data.pair import pair_of, two_sources, two_splits
from gm_jax.data.photos import open_photos
from gm_jax.data.points import SPLIT_SIZES, load_points
from gm_jax.data.reader import Example, Reader, shown
from gm_jax.data.splits import SplitRange, bound_split, own_split, resolve_split
from gm_jax.data.tfds_source import open_tfds
from gm_jax.data.transforms import CROPS, FILTER, crop_and_resize

# Sources of images without an argument, and those with an argument after a colon.
_EMBEDDED = {"digits": open_digits, "photos": open_photos}
_NAMED = {"tfds": open_tfds, "folder": open_folder, "npz": open_npz, "idx": open_idx}
# Sources that change another one, which follows the colon.
_DERIVED = {"colored": colored, "binary": binary}
# Sources that are not decoded from files.
_OTHERS = ("points", "pair")
SOURCES = (
    "digits",
    "photos",
    "tfds:NAME[/CONFIG]",
    "folder:PATH",
    "npz:PATH",
    "idx:FOLDER",
    "points:SET",
    "pair:SOURCE_A|SOURCE_B",
    "colored:SOURCE",
    "binary:SOURCE",
)


def _open(name: str) -> Reader:
    """Returns the reader of an image source by its name."""
    kind, colon, argument = name.partition(":")
    if kind in _EMBEDDED and not colon:
        return _EMBEDDED[kind]()
    if kind in _NAMED and argument:
        return _NAMED[kind](argument)
    if kind in _DERIVED and argument:
        if argument.partition(":")[0] in _OTHERS:
            raise ValueError(f"{name}: {argument} is no source of images; give {kind}:SOURCE")
        return _DERIVED[kind](_open(argument), argument)
    kinds = [*_EMBEDDED, *_NAMED, *_DERIVED, *_OTHERS]
    close = difflib.get_close_matches(kind, kinds, n=1)
    hint = f" (closest: {close[0]})" if close else ""
    raise ValueError(f"unknown data.source {name!r}{hint}; the sources are {', '.join(SOURCES)}")


def _sources_of_pair(name: str, argument: str) -> tuple[str, str]:
    """Returns the sources of a pair; refuses any but two of images or two of points."""
    sources = two_sources(argument)
    kinds = [source.partition(":")[0] for source in sources]
    for source, kind in zip(sources, kinds, strict=True):
        if kind in _OTHERS and kinds != ["points", "points"]:
            raise ValueError(
                f"{name}: {source} is no source of images; a pair takes two of them, or two of "
                "points"
            )
    return sources


def split_names(name: str) -> list[str]:
    """Returns the splits of a source (for a pair, of both), without decoding any image."""
    kind, _, argument = name.partition(":")
    if kind == "points" and argument:
        return list(SPLIT_SIZES)
    if kind == "pair" and argument:
        first, second = map(split_names, _sources_of_pair(name, argument))
        return [split for split in first if split in second]
    return list(_open(name).split_sizes)


def split_of(name: str, split: str, use: str) -> str:
    """The split of a source that a config refers to.

    Args:
      name: the source.
      split: the config's split: '' for the source's own, 'SPLIT of SOURCE' for that source only.
      use: 'train', 'validation' or 'test'.

    Raises:
      ValueError: the source has no split for this use.
    """
    split = bound_split(split, name)
    if split:
        return split
    try:
        return own_split(use, split_names(name))
    except ValueError as error:
        raise ValueError(f"{name}: {error} (data.{use}_split)") from None


def split_to_read(name: str) -> str:
    """The split of a source that is read where none is named: all, its only one, or its test."""
    names = split_names(name)
    if "all" in names:
        return "all"
    return names[0] if len(names) == 1 else split_of(name, "", "test")


def source_and_split(text: str) -> tuple[str, str]:
    """Divides SOURCE[:SPLIT]; without a split, it is `split_to_read`.

    Sources hold colons themselves: the last part is a split if it looks like one and what stands
    before it is a source.

    Raises:
      ValueError: there is no such source.
    """
    found = re.fullmatch(r"(.+):(\w[\w-]*(?:\[[^\]]*\])?)", text)
    if found and _is_source(found[1]):
        return found[1], found[2]
    return text, split_to_read(text)


def _is_source(text: str) -> bool:
    """Whether a name is complete; what it names may be missing."""
    kind, colon, argument = text.partition(":")
    if kind in _DERIVED:
        return _is_source(argument)
    return (kind in _EMBEDDED and not colon) or (kind in _NAMED and bool(argument))


def median_side(name: str) -> int | None:
    """The median of the smaller sides of a folder's images, in pixels, if they differ in size.

    The lower one of a pair. None if all have the same size, or the source is not a folder.
    """
    kind, _, argument = name.partition(":")
    if kind in _DERIVED:
        return median_side(argument)
    if kind == "pair" and argument:
        sides = map(median_side, _sources_of_pair(name, argument))
        return min((side for side in sides if side is not None), default=None)
    if kind != "folder" or not argument:
        return None
    sizes = sizes_of_folder(argument)
    return int(np.median([min(size) for size in sizes])) if len(set(sizes)) > 1 else None


def _cached(
    reader: Reader, recipe: dict, examples: Iterator[Example], count: int, cache_dir: str
) -> Path:
    """Returns the cache of a recipe, after writing it from the examples if it is missing."""

    def write(folder: Path) -> dict:
        counted = shown(examples, f"decoding {recipe['source']} {recipe['split']}", count)
        return cache.write_examples(folder, counted, count, reader.fields)

    classes = reader.fields["label"].classes if "label" in reader.fields else None
    details = {"levels": reader.fields["image"].levels, "classes": classes}
    return cache.find_or_write(cache_dir, recipe, details, write)


def _whole_split(reader: Reader, split: str, recipe: dict, cache_dir: str) -> Path:
    """Returns the cache of a whole split, cropped and resized, which all its slices share."""
    count = reader.split_sizes[split]

    def resized(example: Example) -> Example:
        image = crop_and_resize(example.values["image"], recipe["crop"], recipe["resize"])
        return example._replace(values={**example.values, "image": image})

    examples = map(resized, reader.read(split, 0, count))
    return _cached(reader, {**recipe, "split": split}, examples, count, cache_dir)


def _slices(
    reader: Reader, ranges: tuple[SplitRange, ...], recipe: dict, cache_dir: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns arrays and digests: a view of the whole split for one slice, a copy for a sum."""
    folders = {name: _whole_split(reader, name, recipe, cache_dir) for name, _, _ in ranges}
    if len(ranges) == 1:
        name, start, stop = ranges[0]
        whole, digests = cache.open_arrays(folders[name]), cache.digests(folders[name])
        arrays = {field: array[start:stop] for field, array in whole.items()}
        return arrays, {field: f"{digests[field]}[{start}:{stop}]" for field in arrays}
    wholes = {name: cache.open_arrays(folder) for name, folder in folders.items()}

    def read() -> Iterator[Example]:
        for name, start, stop in ranges:
            for row in range(start, stop):
                values = {field: array[row] for field, array in wholes[name].items()}
                yield Example(values, f"{recipe['source']} {name} image {row}")

    terms = "+".join(f"{name}[{start}:{stop}]" for name, start, stop in ranges)
    count = sum(stop - start for _, start, stop in ranges)
    folder = _cached(reader, {**recipe, "split": terms}, read(), count, cache_dir)
    return cache.open_arrays(folder), cache.digests(folder)


def load(
    name: str, split: str, *, resize: int = 0, crop: str = "none", cache_dir: str = ""
) -> Dataset:
    """Loads the examples of a split.

    Images are decoded on first use into a memory-mapped cache. If any image of a split lacks a
    label, the split has no field `label`.

    Args:
      name: one of `SOURCES`.
      split: in TFDS syntax, such as 'train', 'train[:90%]', 'train[:500]+test'; for a pair also
        'SPLIT_A|SPLIT_B'.
      resize: side in pixels to which images are resized (Pillow's area filter); 0 keeps them.
      crop: 'center' takes the central square before resizing; 'none' does not.
      cache_dir: local folder; '' means $GM_JAX_CACHE or ~/.cache/gm_jax/images.

    Returns:
      The examples' arrays and their meaning.

    Raises:
      ValueError: an unknown source or split, a missing file or folder, images that do not fit each
        other, TFDS data that cannot be prepared here, or a request to crop or resize points.
    """
    if crop not in CROPS:
        raise ValueError(f"unknown data.crop {crop!r}; give one of {', '.join(CROPS)}")
    if resize < 0:
        raise ValueError(
            f"data.resize must be a side in pixels, or 0 to keep the size; got {resize}"
        )
    kind, _, argument = name.partition(":")
    if kind == "points" and argument:
        if resize or crop != "none":
            raise ValueError(
                f"{name} holds points, not images: data.resize={resize} and data.crop={crop!r} "
                "cannot apply; set data.resize=0 and data.crop='none'"
            )
        return load_points(argument, split)
    if kind == "pair" and argument:
        sources = _sources_of_pair(name, argument)
        first, second = (
            load(source, each, resize=resize, crop=crop, cache_dir=cache_dir)
            for source, each in zip(sources, two_splits(split), strict=True)
        )
        return pair_of(first, second, name, split)
    return _load_images(name, split, resize, crop, cache_dir)


def _load_images(name: str, split: str, resize: int, crop: str, cache_dir: str) -> Dataset:
    """Loads images and, if all have them, labels."""
    reader = _open(name)
    try:
        ranges = resolve_split(split, reader.split_sizes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    recipe = {
        "source": name,
        "fingerprint": reader.fingerprint,
        "resize": resize,
        "crop": crop,
        "filter": FILTER if resize else None,
    }
    arrays, digests = _slices(reader, ranges, recipe, cache_dir)
    fields = {
        field: reader.fields[field]._replace(shape=array.shape[1:])
        for field, array in arrays.items()
    }
    if reader.drawn:
        digests = {**digests, "drawn": reader.drawn}
    return Dataset(arrays, fields, name, split, digests=digests)
