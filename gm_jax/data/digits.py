"""The 1,797 handwritten digits that ship with scikit-learn: 8×8, 17 grey levels.

The split `train_augmented` has every training digit four times unchanged, then four times bent (our
own augmentation), because a PixelCNN++ memorises 1,437 images within minutes. Bent digits alone
would be another distribution. Slices of the split share digits, so validate on `validation`.
"""

from collections.abc import Iterator

import numpy as np

from gm_jax.data.fields import image_spec
from gm_jax.data.packages import package_folder
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint

LEVELS = 17
SPLIT_SIZES = {"train": 1437, "validation": 180, "test": 180}
AUGMENTED_COPIES = 4  # unchanged copies of each training digit, and as many bent ones
# The file is ordered by writer; a fixed shuffle puts every writer into every split.
_SHUFFLE_SEED = 0
_WARP_SEED = 1
_WARP_WAVES = 3  # number of lowest cosines per axis in a displacement,
_WARP_CELLS = 0.35  # and the standard deviation of their amplitudes, in cells of the bitmap
_WARP_VERSION = 1  # increase it with any change to the bent digits, to renew the cache


def warp(images: np.ndarray, generator: np.random.RandomState) -> np.ndarray:
    """Bends digits by smooth random displacements.

    A pixel of these images counts the ink in 4×4 cells of a 32×32 bitmap. The bitmap is what is
    bent: it is estimated with splines, displaced by a sum of low cosines, sharpened towards ink or
    no ink, and counted again. There is no ink beyond its edge.

    Args:
      images: uint8 [N, 8, 8], 0..16.
      generator: draws the displacements.

    Returns:
      uint8 [N, 8, 8], 0..16.
    """
    from scipy import ndimage  # slow to import, and needed only if the cache is missing

    count, cells = len(images), np.arange(32)
    spline = ndimage.zoom(np.eye(8), (4, 1), order=3, mode="nearest", grid_mode=True)
    bitmaps = spline @ (images / 16) @ spline.T
    waves = np.cos(np.pi * np.outer(cells + 0.5, np.arange(_WARP_WAVES)) / 32)
    amplitudes = generator.normal(0, _WARP_CELLS, (2, count, _WARP_WAVES, _WARP_WAVES))
    down, right = waves @ amplitudes @ waves.T
    number = np.broadcast_to(np.arange(count)[:, None, None], down.shape)
    ink = ndimage.map_coordinates(bitmaps, (number, cells[:, None] + down, cells + right), order=1)
    sharpened = 1 / (1 + np.exp(-20 * (ink - 0.5)))
    counts = sharpened.reshape(count, 8, 4, 8, 4).sum((2, 4))
    return np.rint(counts).astype(np.uint8)


def _read(split: str, start: int, stop: int) -> Iterator[Example]:
    """Yields digits of a split; imports scikit-learn, which only decoding needs."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # RandomState's streams are the same in every version of NumPy; Generator's are not.
    order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(data.target))
    ends = np.cumsum(list(SPLIT_SIZES.values()))[:-1]
    rows_of = dict(zip(SPLIT_SIZES, np.split(order, ends), strict=True))
    rows_of["train_augmented"] = np.tile(rows_of["train"], 2 * AUGMENTED_COPIES)
    rows = rows_of[split]
    images = data.images[rows].astype(np.uint8)
    if split == "train_augmented":
        half = len(images) // 2
        images[half:] = warp(images[half:], np.random.RandomState(_WARP_SEED))
    for row, image in zip(rows[start:stop], images[start:stop], strict=True):
        values = {"image": image[:, :, None], "label": int(data.target[row])}
        yield Example(values, f"{split} digit {row}")


def open_digits() -> Reader:
    """Returns the reader of scikit-learn's digits: 1437 train, 180 validation, 180 test.

    There are also 11,496 in `train_augmented`, made from those in train.
    """
    file = package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz"
    augmentation = (AUGMENTED_COPIES, _WARP_SEED, _WARP_WAVES, _WARP_CELLS, _WARP_VERSION)
    fingerprint = f"{files_fingerprint([file])} RandomState({_SHUFFLE_SEED}) {augmentation}"
    sizes = {**SPLIT_SIZES, "train_augmented": 2 * AUGMENTED_COPIES * SPLIT_SIZES["train"]}
    fields = image_spec(UNDECODED, LEVELS, 10)
    return Reader(sizes, fingerprint, fields, _read)
