"""Kernel distance between features (KID if they are Inception's): unbiased at any number."""

import numpy as np

from gm_jax.evaluation.feature_batches import feature_batches

_MOST_ROWS = 1024  # of a block of kernel values, in float64: 8 MiB


def kernel_distance(
    samples: np.ndarray,
    reference: np.ndarray,
    num_subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Mean and standard deviation of `squared_mmd` over random subsets of both sets.

    Bińkowski et al. 2018, section 4. The standard deviation is that of one subset's value; the
    subsets overlap, so the mean's own error is larger than that over √num_subsets. Memory is that
    of two subsets, whatever the number of rows.

    Args:
      samples, reference: [n, d] and [m, d], real, possibly memory-mapped.
      num_subsets, subset_size: 100 and 1000 in the authors' code; a subset holds no row twice.
      seed: determines the subsets.

    Returns:
      The mean, which may be slightly negative if the sets are alike, and the standard deviation.

    Raises:
      ValueError: fewer rows than a subset takes, or a number out of range; see `squared_mmd`.
    """
    count = min(len(samples), len(reference))
    if num_subsets < 1 or not 2 <= subset_size <= count:
        raise ValueError(
            f"num_subsets={num_subsets}, subset_size={subset_size}: give at least 1 subset of 2 "
            f"to {count} rows, the number of the smaller set"
        )
    random = np.random.default_rng(seed)

    def subset_of(features: np.ndarray) -> np.ndarray:
        return features[np.sort(random.choice(len(features), subset_size, replace=False))]

    values = [squared_mmd(subset_of(samples), subset_of(reference)) for _ in range(num_subsets)]
    return float(np.mean(values)), float(np.std(values))


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel k(a, b) = (aᵀb / d + 1)³.

    The mean of k over pairs of different rows of x, plus that of y, less twice the mean over pairs
    of a row of x and one of y; Bińkowski et al. 2018, section 4. No more than a block of
    kernel values is held.

    Args:
      x, y: [n ≥ 2, d] and [m ≥ 2, d], real.

    Raises:
      ValueError: too few rows, different widths, or values that are not finite.
    """
    x, y = _in_float64(x, "x"), _in_float64(y, "y")
    if min(len(x), len(y)) < 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x and y are [2 or more, d] from one feature network, got {x.shape} and {y.shape}"
        )
    return _mean_within(x) + _mean_within(y) - 2 * _sum(x, y) / (len(x) * len(y))


def _in_float64(features: np.ndarray, name: str) -> np.ndarray:
    return np.concatenate([np.empty((0, np.shape(features)[-1])), *feature_batches(features, name)])


def _mean_within(x: np.ndarray) -> float:
    """The mean of the kernel over pairs of different rows."""
    same = (np.square(x).mean(1) + 1) ** 3
    return (_sum(x, x) - float(same.sum())) / (len(x) * (len(x) - 1))


def _sum(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of the kernel over all pairs."""
    total = 0.0
    for start in range(0, len(x), _MOST_ROWS):
        for other in range(0, len(y), _MOST_ROWS):
            products = x[start : start + _MOST_ROWS] @ y[other : other + _MOST_ROWS].T
            total += float(((products / x.shape[1] + 1) ** 3).sum())
    return total
