"""Whether translations keep their class.

A translation between unpaired domains may be faithful to both and still send a class to another
one, as nothing that it is trained on sees classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


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
