"""Nearest neighbours, and what they tell: the class of an example, whether two sets differ."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_MOST_VALUES = 2**22  # of each block, in float64: 32 MiB


class Nearest(NamedTuple):
    """The numbers of the nearest references and their Euclidean distances, [N] each."""

    rows: np.ndarray
    distances: np.ndarray


def nearest_labels(examples: ArrayLike, references: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The label of each example's nearest reference, by the distance of their values: int [N].

    Args:
      examples: [N, ...], images in the same levels as the references, or points.
      references: [M ≥ 1, ...].
      labels: int [M], those of the references.
    """
    return np.asarray(labels)[nearest(examples, references).rows]


def nearest(examples: ArrayLike, references: ArrayLike) -> Nearest:
    """The nearest reference of each example.

    Args:
      examples: [N ≥ 1, ...], images in the same levels as the references, features, or points.
      references: [M ≥ 1, ...].
    """
    x, y = _flat(examples), _flat(references)
    rows = np.concatenate([distances.argmin(1) for _, distances in squared_distances(x, y)])
    # Subtracted pair by pair, so that a copy's distance is exactly zero.
    pairs = zip(x, y[rows], strict=True)
    distances = [np.linalg.norm(np.subtract(a, b, dtype=np.float64)) for a, b in pairs]
    return Nearest(rows, np.array(distances))


def told_apart(first: ArrayLike, second: ArrayLike) -> float:
    """The share of examples whose nearest neighbour, among all others, is of the same set.

    This is the leave-one-out accuracy of a nearest neighbour that tells two samples apart
    (Lopez-Paz & Oquab, 2017, section 2): about ½ if both are of one distribution, 1 if they lie
    apart, below ½ if one repeats the other.

    Args:
      first, second: [N ≥ 1, ...] each, images in the same levels, or points. The longer is cut to
        the length of the other.
    """
    x, y = _flat(first), _flat(second)
    count = min(len(x), len(y))
    both, of_second = np.concatenate([x[:count], y[:count]]), np.arange(2 * count) >= count
    neighbours = []
    for start, distances in squared_distances(both, both):
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf  # an example is no neighbour of its own
        neighbours.append(distances.argmin(1))
    return float((of_second[np.concatenate(neighbours)] == of_second).mean())


def _flat(examples: ArrayLike) -> np.ndarray:
    """The values of each example, [N, D]."""
    values = np.asarray(examples)
    return values.reshape(len(values), -1)


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (first row, ‖x − y‖² of some rows of x and all of y, float64 [rows, M]).

    Rows and columns are converted to float64 a block at a time, so that images take their own
    memory and little more. The arrays are the caller's to change; rounding, which may leave a
    distance slightly negative, is a few 1e-16 of the squared norms.

    Args:
      x, y: [N, D] and [M, D], any real dtype, possibly memory-mapped.
    """
    rows = max(1, min(len(x), _MOST_VALUES // len(y)))
    columns = max(1, _MOST_VALUES // max(rows, len(y)))
    for start in range(0, len(x), rows):
        distances = np.zeros((len(x[start : start + rows]), len(y)))
        for column in range(0, x.shape[1], columns):
            part = slice(column, column + columns)
            a, b = x[start : start + rows, part].astype(np.float64), y[:, part].astype(np.float64)
            distances += np.square(a).sum(1)[:, None] - 2 * a @ b.T + np.square(b).sum(1)
        yield start, distances
