"""Pictures of points in the plane: data in grey, samples in colours."""

from collections.abc import Sequence

import numpy as np

from gm_jax.images import grid

# The first set (the data) is grey; the others have colours that everyone can tell apart (Okabe and
# Ito): orange, sky blue, green, vermilion, purple.
COLOURS = (
    (150, 150, 150),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
)
_PAPER = 255

# left, right, bottom, top
Limits = tuple[float, float, float, float]


def limits_of(points: np.ndarray, margin: float = 0.1) -> Limits:
    """The smallest square around all finite points, widened on each side by a share of its length.

    If all points coincide, the square has side 1.

    Raises:
      ValueError: the points are not [N ≥ 1, 2], or none is finite.
    """
    points = _checked(points)
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        raise ValueError("no point is finite; give limits")
    low, high = points.min(0), points.max(0)
    half = (float((high - low).max()) or 1.0) * (0.5 + margin)
    x, y = (low + high) / 2
    return float(x - half), float(x + half), float(y - half), float(y + half)


def count_outside(points: np.ndarray, limits: Limits) -> int:
    """The number of points that a picture with these limits does not show, including NaN."""
    return int((~_inside(_checked(points), _checked_limits(limits))).sum())


def scatter(
    *sets: np.ndarray, limits: Limits | None = None, size: int = 512, radius: int = 1
) -> np.ndarray:
    """Draws point sets over each other, the first in grey, each later one on top in its colour.

    Points that are outside the limits or not finite are not drawn (`count_outside` counts them).

    Args:
      *sets: float [N, 2] each, x to the right and y upwards; at most as many as COLOURS.
      limits: left, right, bottom, top; None takes `limits_of` the first set, so that stray samples
        do not shrink the data.
      size: side of the picture in pixels.
      radius: a point is a square with a side of 2·radius + 1 pixels.

    Returns:
      uint8 [size, size, 3].

    Raises:
      ValueError: there is no set, one is not [N ≥ 1, 2], or a number is out of range.
    """
    if not 1 <= len(sets) <= len(COLOURS):
        raise ValueError(f"{len(sets)} sets of points; give 1 to {len(COLOURS)}")
    return _draw(sets, COLOURS[: len(sets)], limits, size, radius)


def scatter_row(
    *sets: np.ndarray, limits: Limits | None = None, size: int = 512, radius: int = 1
) -> np.ndarray:
    """Draws point sets side by side, with the colours and shared limits of `scatter`.

    Returns:
      uint8 [H, W, 3], with lines between and around the pictures (see `images.grid`).
    """
    if not 1 <= len(sets) <= len(COLOURS):
        raise ValueError(f"{len(sets)} sets of points; give 1 to {len(COLOURS)}")
    limits = limits_of(sets[0]) if limits is None else limits
    panels = [
        _draw([points], [colour], limits, size, radius)
        for points, colour in zip(sets, COLOURS, strict=False)
    ]
    return grid(np.stack(panels), columns=len(panels))


def _draw(
    sets: Sequence[np.ndarray],
    colours: Sequence[tuple[int, int, int]],
    limits: Limits | None,
    size: int,
    radius: int,
) -> np.ndarray:
    """Draws each set in its colour on white paper, [size, size, 3]."""
    if size < 1 or radius < 0:
        raise ValueError(f"size={size}, radius={radius}: size is at least 1, radius at least 0")
    left, right, bottom, top = _checked_limits(limits_of(sets[0]) if limits is None else limits)
    picture = np.full((size, size, 3), _PAPER, np.uint8)
    shift = np.arange(-radius, radius + 1)
    for points, colour in zip(map(_checked, sets), colours, strict=True):
        x, y = points[_inside(points, (left, right, bottom, top))].T
        # A point on the right or lower edge belongs to the last pixel.
        column = np.minimum((x - left) / (right - left) * size, size - 1).astype(int)
        row = np.minimum((top - y) / (top - bottom) * size, size - 1).astype(int)
        rows = np.clip(row[:, None, None] + shift[:, None], 0, size - 1)
        columns = np.clip(column[:, None, None] + shift, 0, size - 1)
        picture[rows, columns] = colour
    return picture


def _checked(points: np.ndarray) -> np.ndarray:
    """Returns the points as float64 [N, 2]; refuses other shapes and empty sets."""
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"points have shape {points.shape}; give [N ≥ 1, 2]")
    return points


def _checked_limits(limits: Limits) -> Limits:
    left, right, bottom, top = limits
    if not (left < right and bottom < top and np.isfinite(limits).all()):
        raise ValueError(f"limits are {limits}; give left < right, bottom < top")
    return limits


def _inside(points: np.ndarray, limits: Limits) -> np.ndarray:
    """Whether each point lies within the limits, including the edges; NaN does not."""
    left, right, bottom, top = limits
    x, y = points.T
    return (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
