"""Judgements by the nearest neighbour: the class of an example, and whether two sets differ."""

import numpy as np
from numpy.typing import ArrayLike

_CHUNK_ROWS = 1024


def nearest_labels(examples: ArrayLike, references: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The label of each example's nearest reference, by the distance of their values: int [N].

    Args:
      examples: [N, ...], images in the same levels as the references, or points.
      references: [M ≥ 1, ...].
      labels: int [M], those of the references.
    """
    x, y = _flat(examples), _flat(references)
    nearest = [
        _squared_distances(x[start : start + _CHUNK_ROWS], y).argmin(1)
        for start in range(0, len(x), _CHUNK_ROWS)
    ]
    return np.asarray(labels)[np.concatenate(nearest)]


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
    distances = _squared_distances(both, both)
    np.fill_diagonal(distances, np.inf)
    return float((of_second[distances.argmin(1)] == of_second).mean())


def _flat(examples: ArrayLike) -> np.ndarray:
    """The values of each example, float64 [N, D]."""
    values = np.asarray(examples, np.float64)
    return values.reshape(len(values), -1)


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """‖x − y‖² of [N, D] and [M, D], float64 [N, M]."""
    return np.square(x).sum(1)[:, None] - 2 * x @ y.T + np.square(y).sum(1)
