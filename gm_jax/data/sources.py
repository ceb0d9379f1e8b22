"""Images by name: 'digits', 'photos', 'tfds:NAME[/CONFIG]', 'folder:PATH', 'npz:PATH'."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gm_jax.data import cache
from gm_jax.data.digits import open_digits
from gm_jax.data.folder import open_folder
from gm_jax.data.npz import open_npz
from gm_jax.data.photos import open_photos
from gm_jax.data.reader import Example, Reader
from gm_jax.data.splits import SplitRange, resolve_split
from gm_jax.data.tfds_source import open_tfds
from gm_jax.data.transforms import CROPS, FILTER, crop_and_resize

# Sources that stand alone, and sources that are told something after a colon.
_EMBEDDED = {"digits": open_digits, "photos": open_photos}
_NAMED = {"tfds": open_tfds, "folder": open_folder, "npz": open_npz}
SOURCES = ("digits", "photos", "tfds:NAME[/CONFIG]", "folder:PATH", "npz:PATH")


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """The images of one split.

    Attributes:
      images: uint8 [N, H, W, C] in 0..levels-1, memory-mapped.
      labels: int32 [N] in 0..num_classes-1; None where any image of the split has no label.
      levels: number of values a pixel may take.
      num_classes: number of classes of the source; None where there are no labels.
      name: the source, as asked for.
      split: the split, as asked for.
    """

    images: np.ndarray
    labels: np.ndarray | None
    levels: int
    num_classes: int | None
    name: str
    split: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return tuple(self.images.shape[1:])

    def __len__(self) -> int:
        return self.images.shape[0]


def _open(name: str) -> Reader:
    """Returns the reader of a source by its name."""
    kind, colon, argument = name.partition(":")
    if kind in _EMBEDDED and not colon:
        return _EMBEDDED[kind]()
    if kind in _NAMED and argument:
        return _NAMED[kind](argument)
    close = difflib.get_close_matches(kind, [*_EMBEDDED, *_NAMED], n=1)
    hint = f" (closest: {close[0]})" if close else ""
    raise ValueError(f"unknown data.source {name!r}{hint}; the sources are {', '.join(SOURCES)}")


def split_names(name: str) -> list[str]:
    """Returns the splits of a source, without decoding any image."""
    return list(_open(name).split_sizes)


def _cached(
    reader: Reader, recipe: dict, examples: Iterator[Example], count: int, cache_dir: str
) -> cache.Arrays:
    """Returns the images and labels of a recipe, written from its examples where not yet cached."""

    def write(folder: Path) -> dict:
        # Decoding a large set takes minutes: a bar on a terminal, nothing elsewhere.
        label = f"decoding {recipe['source']} {recipe['split']}"
        bar = tqdm(examples, label, count, leave=False, unit=" images", disable=None, delay=2)
        return cache.write_examples(folder, bar, count, reader.levels)

    details = {"levels": reader.levels, "classes": reader.classes}
    return cache.open_images(cache.find_or_write(cache_dir, recipe, details, write))


def _whole_split(reader: Reader, split: str, recipe: dict, cache_dir: str) -> cache.Arrays:
    """Returns a whole split, cropped and resized; all its slices share this one cache."""
    count = reader.split_sizes[split]
    examples = (
        example._replace(image=crop_and_resize(example.image, recipe["crop"], recipe["resize"]))
        for example in reader.read(split, 0, count)
    )
    return _cached(reader, {**recipe, "split": split}, examples, count, cache_dir)


def _slices(
    reader: Reader, ranges: tuple[SplitRange, ...], recipe: dict, cache_dir: str
) -> cache.Arrays:
    """Returns one slice as a view of its whole split; a sum is copied into a cache of its own."""
    wholes = {name: _whole_split(reader, name, recipe, cache_dir) for name, _, _ in ranges}
    if len(ranges) == 1:
        name, start, stop = ranges[0]
        images, labels = wholes[name]
        return images[start:stop], None if labels is None else labels[start:stop]

    def read() -> Iterator[Example]:
        for name, start, stop in ranges:
            images, labels = wholes[name]
            for row in range(start, stop):
                label = None if labels is None else int(labels[row])
                yield Example(images[row], label, f"{recipe['source']} {name} image {row}")

    terms = "+".join(f"{name}[{start}:{stop}]" for name, start, stop in ranges)
    count = sum(stop - start for _, start, stop in ranges)
    return _cached(reader, {**recipe, "split": terms}, read(), count, cache_dir)


def load(
    name: str, split: str, *, resize: int = 0, crop: str = "none", cache_dir: str = ""
) -> ImageDataset:
    """Loads the images of a split, decoding them on first use into a memory-mapped cache.

    Args:
      name: one of `SOURCES`.
      split: TFDS syntax, such as 'train', 'train[:90%]', 'train[:500]+test'.
      resize: side in pixels to which images are resized (Pillow's area filter); 0 keeps them.
      crop: 'center' takes the central square before resizing; 'none' does not.
      cache_dir: local folder; '' means $GM_JAX_CACHE or ~/.cache/gm_jax/images.

    Returns:
      The images, their labels and what they mean.

    Raises:
      ValueError: an unknown source or split, a file or folder that is missing, images that do
        not fit each other, or TFDS data that cannot be prepared here.
    """
    if crop not in CROPS:
        raise ValueError(f"unknown data.crop {crop!r}; give one of {', '.join(CROPS)}")
    if resize < 0:
        raise ValueError(
            f"data.resize must be a side in pixels, or 0 to keep the size; got {resize}"
        )
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
    images, labels = _slices(reader, ranges, recipe, cache_dir)
    num_classes = None if labels is None or reader.classes is None else len(reader.classes)
    return ImageDataset(images, labels, reader.levels, num_classes, name, split)
