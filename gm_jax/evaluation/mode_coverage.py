"""Coverage of the modes of a two-dimensional mixture."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# A high-quality sample is within this many standard deviations of its nearest mode.
_HIGH_QUALITY_RADIUS = 3.0
_CHUNK_ROWS = 65536


class ModeCoverage(NamedTuple):
    """The result of `mode_coverage`.

    num_modes: number of modes with at least one high-quality sample.
    high_quality_share: share of samples within three standard deviations of a mode, in 0..1.
    histogram_kl: KL in nats from the modes' histogram of high-quality samples to the uniform one;
      0 if balanced, log K if one of K modes has all samples, infinite if there are none.
    """

    num_modes: int
    high_quality_share: float
    histogram_kl: float


def mode_coverage(samples: ArrayLike, modes: ArrayLike, std: float) -> ModeCoverage:
    """Covered modes, share of high-quality samples and balance of a mixture's modes (thesis 4).

    Srivastava et al. 2017 (VEEGAN), section 5.1: each sample belongs to its nearest mode, and has
    high quality within 3 standard deviations of it.

    Args:
      samples: [n, d], points (d = 2 for the ring and the grid).
      modes: [k, d], centres of equally weighted modes.
      std: standard deviation of each mode, > 0.

    Returns:
      ModeCoverage(num_modes, high_quality_share, histogram_kl).

    Raises:
      ValueError: no samples or modes, different dimensions, non-finite points, or std <= 0.
    """
    samples, modes = np.asarray(samples, np.float64), np.asarray(modes, np.float64)
    if samples.ndim != 2 or modes.ndim != 2 or samples.shape[1] != modes.shape[1]:
        raise ValueError(
            f"samples are [n, d] and modes [k, d], got {samples.shape} and {modes.shape}"
        )
    if not len(samples) or not len(modes):
        raise ValueError(f"got {len(samples)} samples and {len(modes)} modes; give at least one")
    if not (np.isfinite(samples).all() and np.isfinite(modes).all()):
        raise ValueError("samples or modes hold NaN or infinity")
    if not std > 0:
        raise ValueError(f"std is positive, got {std}")
    counts = np.zeros(len(modes), np.int64)
    for start in range(0, len(samples), _CHUNK_ROWS):
        points = samples[start : start + _CHUNK_ROWS]
        distances = np.linalg.norm(points[:, None] - modes, axis=-1)
        nearest = distances.argmin(axis=1)
        good = distances.min(axis=1) <= _HIGH_QUALITY_RADIUS * std
        counts += np.bincount(nearest[good], minlength=len(modes))
    num_good = int(counts.sum())
    probs = counts[counts > 0] / max(num_good, 1)
    kl = float((probs * np.log(probs * len(modes))).sum()) if num_good else float("inf")
    return ModeCoverage(int((counts > 0).sum()), num_good / len(samples), max(kl, 0.0))
