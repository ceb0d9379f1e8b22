"""Do samples repeat training images? Their nearest ones beside those of held-out images."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

from gm_jax.images import grid

_FEW = 0.01  # the part of held-out images that lie nearest to training images
_LINE = 14  # height of a line of text in pixels
_WIDTH = 1024  # to which pictures of small images are enlarged
_COLUMNS = 16


class Closeness(NamedTuple):
    """How near to training images samples lie, with held-out images as the yardstick.

    Attributes:
      nearer: the probability that a sample lies nearer to a training image than a held-out image
        does (ties count half): ½ for a model that generalises, 1 for one that repeats (Meehan et
        al. 2020).
      much_nearer: the share of samples that lie nearer than all but 1 % of held-out images: .01 for
        a model that generalises. It finds a few copies, which `nearer` hardly sees.
      distance, held_out_distance: medians of the distances.
    """

    nearer: float
    much_nearer: float
    distance: float
    held_out_distance: float


class Band(NamedTuple):
    """`images`, uint8 [k, H, W, 1 or 3] in 0..255, 1 ≤ k ≤ `columns_of(W)`, and
    {kind of distance: (nearest training images like these, distances [k])}."""

    images: np.ndarray
    found: dict[str, tuple[np.ndarray, np.ndarray]]


def closeness(distances: ArrayLike, held_out_distances: ArrayLike) -> Closeness:
    """Compares distances of samples with those of held-out images, [n] and [m], n and m ≥ 1.

    Raises:
      ValueError: no distances, or most held-out images are training images.
    """
    distances, held_out = np.asarray(distances), np.sort(held_out_distances)
    if not (distances.size and held_out.size):
        raise ValueError(f"{distances.size} samples and {held_out.size} held-out images: give some")
    if np.median(held_out) == 0:
        raise ValueError(
            "most of the reference images are training images, and no yardstick: take a held-out "
            "split (--reference_split=test)"
        )
    further = 1 - np.searchsorted(held_out, distances, "right") / held_out.size
    not_nearer = 1 - np.searchsorted(held_out, distances, "left") / held_out.size
    return Closeness(
        float((further + not_nearer).mean() / 2),
        float((distances <= np.quantile(held_out, _FEW)).mean()),
        float(np.median(distances)),
        float(np.median(held_out)),
    )


def picture_of_neighbours(bands: dict[str, Band]) -> np.ndarray:
    """Draws images over their nearest training images, with the distances under these.

    Args:
      bands: {title: band}, from top to bottom.

    Returns:
      uint8 [H', W', 3].
    """
    strips = []
    for title, (images, found) in bands.items():
        columns = columns_of(images.shape[2])
        enlarge = max(1, _WIDTH // (columns * images.shape[2]))
        strips += [_text([title]), _row(images, columns, enlarge)]
        for kind, (training, distances) in found.items():
            numbers = [f"{distance:.3g}" for distance in distances]
            strips += [_text([kind]), _row(training, columns, enlarge)]
            strips += [_text(numbers, images.shape[2] * enlarge + 1)]
    width = max(strip.shape[1] for strip in strips)
    padded = [
        np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255)
        for strip in strips
    ]
    return np.concatenate(padded)


def columns_of(width: int) -> int:
    """The number of images side by side in a picture, if they are `width` pixels wide."""
    return max(4, min(_COLUMNS, _WIDTH // width))


def _row(images: np.ndarray, columns: int, enlarge: int) -> np.ndarray:
    """Images side by side, uint8 [H', W', 3]."""
    row = grid(images, columns, enlarge=enlarge)
    return np.repeat(row, 3, axis=2) if row.shape[2] == 1 else row


def _text(texts: list[str], step: int = 0) -> np.ndarray:
    """Texts on white paper, `step` pixels apart: uint8 [_LINE, W, 3]."""
    widest = max(len(text) for text in texts) * 8  # pixels of a letter, or fewer
    canvas = Image.new("RGB", (step * (len(texts) - 1) + max(step, widest) + 2, _LINE), "white")
    draw = ImageDraw.Draw(canvas)
    for number, text in enumerate(texts):
        draw.text((2 + number * step, 1), text, fill="black")
    return np.asarray(canvas)
