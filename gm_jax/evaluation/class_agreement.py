"""Whether translations keep their class, by the nearest labelled example of the other domain.

A translation between unpaired domains may be faithful to both and still send a class to another
one, as nothing that it is trained on sees classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_CHUNK_ROWS = 1024


class ClassAgreement(NamedTuple):
    """The result of `class_agreement`.

    correct: share of examples whose class is the expected one.
    correct_if_renamed: the same where the classes found may be renamed, one to one, in the best
      way. A map that permutes classes has 1; one that sends all to one class has the share of the
      largest. Where examples are few, chance alone gives more.
    """

    correct: float
    correct_if_renamed: float


def class_agreement(found: ArrayLike, expected: ArrayLike, num_classes: int) -> ClassAgreement:
    """Compares the classes of examples with the expected ones.

    Args:
      found, expected: int [N ≥ 1] in 0..num_classes−1.
      num_classes: the number of classes.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    table = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(table, (np.asarray(expected), np.asarray(found)), 1)
    best = table[linear_sum_assignment(table, maximize=True)].sum()
    return ClassAgreement(float(np.trace(table) / table.sum()), float(best / table.sum()))


def nearest_labels(examples: ArrayLike, references: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The label of each example's nearest reference, by the distance of their values: int [N].

    Args:
      examples: [N, ...], images in the same levels as the references, or points.
      references: [M ≥ 1, ...].
      labels: int [M], those of the references.
    """
    both = (np.asarray(each, np.float64) for each in (examples, references))
    x, y = (each.reshape(len(each), -1) for each in both)
    squares = np.square(y).sum(1)
    nearest = [
        (squares - 2 * x[start : start + _CHUNK_ROWS] @ y.T).argmin(1)
        for start in range(0, len(x), _CHUNK_ROWS)
    ]
    return np.asarray(labels)[np.concatenate(nearest)]
