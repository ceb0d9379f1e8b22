"""Images by name: 'digits', 'photos', 'tfds:NAME[/CONFIG]', 'folder:PATH', 'npz:PATH'."""

import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

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


@dataclass(frozen=True)
class ImageDataset:
    """The images of one split.

    Attributes:
      images: uint8 [N, H, W, C] in 0..levels-1, memory-mapped.
      labels: int32 [N] in 0..num_classes-1; None where any image of the split has no label.
      levels: number of values a pixel may take.
      num_classes: number of classes of the source; None where it has no labels.
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
    raise ValueError(f"unknown source {name!r}{hint}; the sources are {', '.join(SOURCES)}")


def _transformed(
    reader: Reader, ranges: tuple[SplitRange, ...], crop: str, resize: int
) -> Iterator[Example]:
    """Reads the ranges one after another, cropped and resized."""
    for example in itertools.chain.from_iterable(reader.read(*part) for part in ranges):
        yield example._replace(image=crop_and_resize(example.image, crop, resize))


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
      ValueError: an unknown source or split, images that do not fit each other, or TFDS data
        that cannot be prepared here.
      FileNotFoundError: a file or folder that is missing.
    """
    if crop not in CROPS:
        raise ValueError(f"unknown crop {crop!r}; give one of {', '.join(CROPS)}")
    if resize < 0:
        raise ValueError(f"resize must be a side in pixels, or 0 to keep the size; got {resize}")
    reader = _open(name)
    try:
        ranges = resolve_split(split, reader.split_sizes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    recipe = {
        "source": name,
        "fingerprint": reader.fingerprint,
        "split": "+".join(f"{part.name}[{part.start}:{part.stop}]" for part in ranges),
        "resize": resize,
        "crop": crop,
        "filter": FILTER,
    }
    count = sum(stop - start for _, start, stop in ranges)
    examples = _transformed(reader, ranges, crop, resize)
    # Decoding a large set takes minutes: a bar on a terminal, nothing elsewhere.
    bar = partial(tqdm, desc=f"decoding {name} {split}", unit=" images", disable=None, delay=2)
    folder = cache.find_or_write(
        cache_dir,
        recipe,
        {"levels": reader.levels, "classes": reader.classes},
        lambda folder: cache.write_examples(
            folder, bar(examples, total=count, leave=False), count, reader.levels
        ),
    )
    images, labels = cache.open_images(folder)
    num_classes = None if reader.classes is None else len(reader.classes)
    return ImageDataset(images, labels, reader.levels, num_classes, name, split)
