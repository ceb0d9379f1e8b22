"""Fréchet distance between Gaussians fitted to features (FID if they are Inception's)."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from gm_jax.evaluation.feature_batches import Features, feature_batches

# A negative eigenvalue or an asymmetry of this relative size is too large to be rounding.
_TOLERANCE = 1e-6
# Rounding error of small matrices, in units of eps; for larger ones it grows with their size.
_LEAST_ROUNDING = 32


def frechet_distance(
    mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike
) -> float:
    """Squared Fréchet (2-Wasserstein) distance between two Gaussians.

    d² = |μ_a − μ_b|² + tr Σ_a + tr Σ_b − 2 tr (Σ_a Σ_b)^½, Heusel et al. 2017, eq. 6; thesis 2.12.
    With Σ = F Fᵀ the last three terms are the minimum of ‖F_a − F_b R‖² over rotations R, which the
    singular vectors of F_bᵀ F_a give. This takes no root of a number that should be zero (an
    eigenvalue that rounding leaves at 1e-16 would give 1e-8), and subtracts nearly equal matrices
    before squaring. It runs on the host in float64, since float32 errs visibly.

    Args:
      mean_a, mean_b: [d], real.
      covariance_a, covariance_b: [d, d], symmetric and positive semi-definite; may be singular
        (fewer samples than dimensions).

    Returns:
      The distance, >= 0, in squared units of the features (this is what the literature prints).

    Raises:
      ValueError: shapes disagree, a value is not finite, or a matrix is not a covariance.
    """
    mean_a, covariance_a = _check_gaussian(mean_a, covariance_a, "a")
    mean_b, covariance_b = _check_gaussian(mean_b, covariance_b, "b")
    if mean_a.shape != mean_b.shape:
        raise ValueError(
            f"the two Gaussians have {mean_a.size} and {mean_b.size} dimensions; take both "
            "statistics from the same feature network"
        )
    # The solver's threads spin while they wait: beside other work two take ten times as long as
    # one, and alone they gain little.
    with threadpool_limits(1):
        factor_a = _factor(covariance_a, "covariance_a")
        factor_b = _factor(covariance_b, "covariance_b")
        left, _, right = np.linalg.svd(factor_b.T @ factor_a, full_matrices=False)
        turned_a, turned_b = factor_a @ right.T, factor_b @ left
        differences = (
            mean_a - mean_b,
            turned_a - turned_b,
            # The remaining part of the factor with the higher rank.
            factor_a - turned_a @ right,
            factor_b - turned_b @ left.T,
        )
        return float(sum(np.square(difference).sum() for difference in differences))


def feature_statistics(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased covariance of features, streamed in float64.

    Batches are merged by their means and centred scatters (Chan, Golub, LeVeque 1979), which avoids
    the cancellation of E[x²] − E[x]²; memory does not grow with the number of samples.

    Args:
      features: [n, d], real, or an iterable of such batches of any sizes.

    Returns:
      Mean [d] and covariance [d, d] with divisor n − 1, float64. With n <= d the covariance is
      singular and the Fréchet distance is biased upwards; report n with it.

    Raises:
      ValueError: fewer than two rows, batches of different widths, or values that are not finite.
    """
    count = 0
    mean: np.ndarray | None = None
    scatter: np.ndarray | None = None
    for batch in feature_batches(features):
        if mean is None or scatter is None:
            mean = np.zeros(batch.shape[1])
            scatter = np.zeros((batch.shape[1], batch.shape[1]))
        batch_mean = batch.mean(axis=0)
        centred = batch - batch_mean
        shift = batch_mean - mean
        total = count + len(batch)
        scatter += centred.T @ centred + np.outer(shift, shift * (count * len(batch) / total))
        mean += shift * (len(batch) / total)
        count = total
    if mean is None or scatter is None or count < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {count}")
    return mean, scatter / (count - 1)


def _check_gaussian(
    mean: ArrayLike, covariance: ArrayLike, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64 copies, after checking that they can be a Gaussian's parameters."""
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if mean.ndim != 1 or covariance.shape != (mean.size, mean.size):
        raise ValueError(
            f"mean_{name} is [d] and covariance_{name} [d, d], got {mean.shape} and "
            f"{covariance.shape}"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError(f"mean_{name} or covariance_{name} holds NaN or infinity")
    asymmetry = np.abs(covariance - covariance.T).max(initial=0.0)
    if asymmetry > _TOLERANCE * np.abs(covariance).max(initial=0.0):
        raise ValueError(f"covariance_{name} is not symmetric: entries differ by {asymmetry:g}")
    return mean, (covariance + covariance.T) / 2


def _factor(covariance: np.ndarray, name: str) -> np.ndarray:
    """F [d, rank] with F Fᵀ = Σ, by pivoted Cholesky; one column of zeros if Σ is zero.

    Raises:
      ValueError: Σ is not positive semi-definite.
    """
    size, largest = len(covariance), np.abs(covariance).max(initial=0.0)
    rounding = max(size, _LEAST_ROUNDING) * np.finfo(np.float64).eps * largest
    lower, pivots, rank, _ = lapack.dpstrf(covariance, tol=rounding, lower=1)
    factor = np.zeros((size, max(rank, 1)))
    factor[pivots - 1, :rank] = np.tril(lower)[:, :rank]
    if np.abs(factor @ factor.T - covariance).max(initial=0.0) > _TOLERANCE * largest:
        eigenvalues = np.linalg.eigvalsh(covariance)
        raise ValueError(
            f"{name} is not positive semi-definite: its smallest eigenvalue is {eigenvalues[0]:g} "
            f"against a largest of {eigenvalues[-1]:g}"
        )
    return factor
