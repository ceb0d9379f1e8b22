"""The cost of moving one set of points onto another."""

import numpy as np
from numpy.typing import ArrayLike


def wasserstein_distance(a: ArrayLike, b: ArrayLike) -> float:
    """W₁ of two empirical distributions: the least mean ‖a_i − b_π(i)‖ over permutations π.

    Thesis 2.11, T(γ) of Eq. 2.72: between two sets of equal size the best plan γ moves each point
    as a whole. Two sets that are drawn from the same distribution are apart, too; compare with that
    distance, at the same n. The time grows as n³: a tenth of a second for 1,000 points.

    Args:
      a, b: float [n, d].

    Raises:
      ValueError: the shapes differ, there are no points, or a value is not finite.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import
    from scipy.spatial.distance import cdist

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or a.shape != b.shape or not len(a):
        raise ValueError(
            f"sets of points [n, d] have one shape and n ≥ 1, got {a.shape}, {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a point holds NaN or infinity")
    costs = cdist(a, b)
    return float(costs[linear_sum_assignment(costs)].mean())
