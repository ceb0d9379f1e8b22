"""The 1,797 handwritten digits that ship with scikit-learn: 8×8, 17 grey levels.

The split `train_augmented` has every training digit four times as it is and four times bent: a
PixelCNN++ learns 1,437 images by heart within minutes. Bent digits alone are another distribution.
"""

from collections.abc import Iterator

import numpy as np

from gm_jax.data.packages import package_folder
from gm_jax.data.reader import Example, Reader, files_fingerprint

LEVELS = 17
SPLIT_SIZES = {"train": 1437, "validation": 180, "test": 180}
AUGMENTED_COPIES = 4  # of each training digit, and as many bent
# The file is ordered by writer: a fixed shuffle gives every split every writer.
_SHUFFLE_SEED = 0
_WARP_SEED = 1
_WARP_WAVES = 3  # lowest cosines of each axis that a displacement is made of,
_WARP_PIXELS = 0.5  # and the standard deviation of their amplitudes, in 32nds of the side


def warp(images: np.ndarray, generator: np.random.RandomState) -> np.ndarray:
    """Bends digits by smooth random displacements.

    A pixel of these images counts the ink in 4×4 cells of a 32×32 bitmap. Bending happens there:
    the bitmap is guessed by splines, moved by a sum of low cosines, cut at half, counted again.

    Args:
      images: uint8 [N, 8, 8], 0..16.
      generator: of the displacements.

    Returns:
      uint8 [N, 8, 8], 0..16.
    """
    # SciPy takes long to import: only those who decode these images pay for it.
    from scipy import ndimage

    count, cells = len(images), np.arange(32)
    spline = ndimage.zoom(np.eye(8), (4, 1), order=3, mode="nearest", grid_mode=True)
    bitmaps = spline @ (images / 16) @ spline.T
    waves = np.cos(np.pi * np.outer(cells + 0.5, np.arange(_WARP_WAVES)) / 32)
    amplitudes = generator.normal(0, _WARP_PIXELS, (2, count, _WARP_WAVES, _WARP_WAVES))
    down, right = waves @ amplitudes @ waves.T
    number = np.broadcast_to(np.arange(count)[:, None, None], down.shape)
    ink = ndimage.map_coordinates(bitmaps, (number, cells[:, None] + down, cells + right), order=1)
    sharpened = 1 / (1 + np.exp(-20 * (ink - 0.5)))
    counts = sharpened.reshape(count, 8, 4, 8, 4).sum((2, 4))
    return np.rint(counts).astype(np.uint8)


def _read(split: str, start: int, stop: int) -> Iterator[Example]:
    """Yields digits of a split; scikit-learn is imported only where digits are decoded."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # RandomState's streams are frozen for every version of NumPy; those of Generator are not.
    order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(data.target))
    ends = np.cumsum(list(SPLIT_SIZES.values()))[:-1]
    rows = dict(zip(SPLIT_SIZES, np.split(order, ends), strict=True))
    images = data.images.astype(np.uint8)
    if split == "train_augmented":
        copies = np.tile(rows["train"], AUGMENTED_COPIES)
        bent = warp(images[copies], np.random.RandomState(_WARP_SEED))
        images, rows = np.concatenate([images[copies], bent]), np.tile(copies, 2)
    else:
        images, rows = images[rows[split]], rows[split]
    for row, image in zip(rows[start:stop], images[start:stop], strict=True):
        yield Example(image[:, :, None], int(data.target[row]), f"{split} digit {row}")


def open_digits() -> Reader:
    """Returns the reader of scikit-learn's digits: 1437 train, 180 validation, 180 test."""
    file = package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz"
    classes = tuple(str(digit) for digit in range(10))
    warps = (AUGMENTED_COPIES, _WARP_SEED, _WARP_WAVES, _WARP_PIXELS)
    fingerprint = f"{files_fingerprint([file])} RandomState({_SHUFFLE_SEED}) warps {warps}"
    sizes = {**SPLIT_SIZES, "train_augmented": 2 * AUGMENTED_COPIES * SPLIT_SIZES["train"]}
    return Reader(sizes, fingerprint, LEVELS, classes, _read)
