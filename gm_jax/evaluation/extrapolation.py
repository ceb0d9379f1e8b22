"""The Fréchet distance of infinitely many samples, from its values at fewer."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gm_jax.evaluation.feature_batches import rows_in_batches
from gm_jax.evaluation.frechet_distance import feature_statistics, frechet_distance


class Extrapolation(NamedTuple):
    """The line `distance + slope / N` through `distances` [m] at the numbers `counts` [m]."""

    distance: float
    slope: float
    counts: np.ndarray
    distances: np.ndarray


def extrapolated_frechet_distance(
    features: np.ndarray,
    reference_mean: ArrayLike,
    reference_covariance: ArrayLike,
    num_points: int = 15,
    smallest: int | None = None,
    seed: int = 0,
) -> Extrapolation:
    """Fréchet distance at N → ∞ samples, FID∞ of Chong & Forsyth 2020, section 4.

    The bias of a distance of N samples is proportional to 1 / N for large N; the intercept of the
    least-squares line through distances of random subsets has none of it. The bias of the
    reference's own statistics stays, as in the paper: judge all models by the same reference.

    Args:
      features: [n, d] of the samples, real, possibly memory-mapped.
      reference_mean, reference_covariance: [d] and [d, d].
      num_points: numbers N, equally far apart from `smallest` to n; 15 in the paper.
      smallest: None takes n / 10, as the paper does (5,000 of 50,000). With N ≤ d the covariance
        is singular and the bias no line in 1 / N.
      seed: determines the subsets.

    Raises:
      ValueError: fewer than 2 points, subsets of fewer than 2 samples, or numbers that coincide;
        see also `frechet_distance`.
    """
    most = len(features)
    smallest = most // 10 if smallest is None else smallest
    counts = np.linspace(smallest, most, max(num_points, 0)).astype(int)
    if num_points < 2 or smallest < 2 or len(np.unique(counts)) < num_points:
        raise ValueError(
            f"num_points={num_points} subsets of {smallest} to {most} samples: give 2 or more "
            "points, subsets of 2 or more samples, and more samples than that"
        )
    random = np.random.default_rng(seed)
    distances = []
    for count in counts:
        rows = np.sort(random.choice(most, count, replace=False))
        statistics = feature_statistics(rows_in_batches(features, rows))
        distances.append(frechet_distance(*statistics, reference_mean, reference_covariance))
    slope, intercept = np.polyfit(1 / counts, distances, 1)
    return Extrapolation(float(intercept), float(slope), counts, np.array(distances))
