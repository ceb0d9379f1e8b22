"""Two checks of whether an encoder's codes look like the prior (α-GAN, appendix D)."""

import numpy as np
from numpy.typing import ArrayLike

from gm_jax.evaluation.frechet_distance import feature_statistics


def histogram_of_means(codes: ArrayLike, num_bins: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Histogram of the mean codes of the latent dimensions.

    α-GAN figure 11 (64,000 codes, 100 dimensions): under the prior N(0, I) every mean is 0 up to a
    standard error of 1/√n.

    Args:
      codes: [n, ...], real; all axes but the first are latent dimensions; n >= 2.
      num_bins: number of bins, placed symmetrically about 0 so that a shift is visible.

    Returns:
      Counts [num_bins] (they sum to the number of dimensions) and edges [num_bins + 1].

    Raises:
      ValueError: fewer than two codes, values that are not finite, or num_bins < 1.
    """
    if num_bins < 1:
        raise ValueError(f"num_bins is at least 1, got {num_bins}")
    means = _flatten(codes).mean(axis=0)
    limit = np.abs(means).max() or 1.0  # if all means are 0, any range will do
    return np.histogram(means, bins=num_bins, range=(-limit, limit))


def covariance_of_codes(codes: ArrayLike) -> np.ndarray:
    """Covariance matrix of the latent dimensions (divisor n − 1).

    α-GAN figure 12: under the prior it is the identity; the per-dimension KL of eq. 18 cannot see
    entries off the diagonal.

    Args:
      codes: [n, ...], real; all axes but the first are latent dimensions; n >= 2.

    Returns:
      [d, d] float64, in squared units of the codes.

    Raises:
      ValueError: fewer than two codes, or values that are not finite.
    """
    return feature_statistics(_flatten(codes))[1]


def _flatten(codes: ArrayLike) -> np.ndarray:
    codes = np.asarray(codes)
    if codes.ndim < 2 or len(codes) < 2 or not codes.size:
        raise ValueError(f"codes are [n >= 2, ...] with a latent axis, got shape {codes.shape}")
    codes = codes.reshape(len(codes), -1).astype(np.float64)
    if not np.isfinite(codes).all():
        bad_rows = int((~np.isfinite(codes)).any(axis=1).sum())
        raise ValueError(f"{bad_rows} of {len(codes)} codes hold NaN or infinity")
    return codes
