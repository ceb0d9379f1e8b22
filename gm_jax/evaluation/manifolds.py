"""Samples within reach of real images' neighbourhoods: precision, recall, density and coverage."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from gm_jax.evaluation.feature_batches import feature_batches
from gm_jax.evaluation.nearest_neighbours import squared_distances

# Squared distances that differ by less than this part of the largest squared norm are equal: their
# rounding errors are smaller, and no feature network is as exact.
_TIE = 1e-12


class PrecisionRecall(NamedTuple):
    """Shares in 0..1 of samples among real images, and of real images among samples."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """density ≥ 0, around 1 for equal distributions; coverage, a share in 0..1."""

    density: float
    coverage: float


def manifold_precision_recall(
    samples: np.ndarray, reference: np.ndarray, num_neighbours: int = 3
) -> PrecisionRecall:
    """Improved precision and recall by k-nearest neighbours, Kynkäänniemi et al. 2019, eq. 1–2.

    A set's manifold is the union of balls around its points, each as large as the distance to the
    point's k-th nearest neighbour in the set. Precision is the share of samples in the reference's
    manifold, recall the share of the reference in the samples'. Points on a ball's edge lie in it,
    as in the paper (prdc leaves them out, which differs only where distances are equal).

    Args:
      samples, reference: [n, d] and [m, d], real, possibly memory-mapped. Compare at equal n = m,
        as the paper does: more points have smaller balls. Time grows as n m d, memory as n + m.
      num_neighbours: k, 3 in the paper.

    Raises:
      ValueError: no more than k rows, different widths, or values that are not finite.
    """
    tie = _check(samples, reference, num_neighbours)
    around_samples = _radii(samples, num_neighbours) + tie
    around_reference = _radii(reference, num_neighbours) + tie
    realistic, recalled = np.zeros(len(samples), bool), np.zeros(len(reference), bool)
    for rows, distances in _blocks(reference, samples):
        realistic |= (distances <= around_reference[rows, None]).any(0)
        recalled[rows] = (distances <= around_samples).any(1)
    return PrecisionRecall(float(realistic.mean()), float(recalled.mean()))


def density_coverage(
    samples: np.ndarray, reference: np.ndarray, num_neighbours: int = 5
) -> DensityCoverage:
    """Density and coverage by k-nearest neighbours, Naeem et al. 2020, section 3.

    Each real image has a ball as large as the distance to its k-th nearest real neighbour. Density
    is the number of balls that a sample lies in, averaged and divided by k; coverage is the share
    of balls with a sample in them. Balls of the samples, whose outliers enlarge recall, are not
    used. Points on a ball's edge lie in it, see `manifold_precision_recall`.

    Args:
      samples, reference: as for `manifold_precision_recall`. Coverage of equal distributions is
        about 1 − 2⁻ᵏ at n = m; it grows with n.
      num_neighbours: k, 5 in the paper.

    Raises:
      ValueError: no more than k rows, different widths, or values that are not finite.
    """
    around = _check(samples, reference, num_neighbours) + _radii(reference, num_neighbours)
    num_within, covered = 0, 0
    for rows, distances in _blocks(reference, samples):
        within = distances <= around[rows, None]
        num_within += int(within.sum())
        covered += int(within.any(1).sum())
    return DensityCoverage(num_within / (num_neighbours * len(samples)), covered / len(reference))


def _radii(points: np.ndarray, num_neighbours: int) -> np.ndarray:
    """The squared distance of each point to its k-th nearest neighbour among the others."""
    radii = np.empty(len(points))
    for rows, distances in _blocks(points, points):
        distances[np.arange(len(distances)), np.arange(rows.start, rows.stop)] = np.inf
        distances.partition(num_neighbours - 1, axis=1)
        radii[rows] = distances[:, num_neighbours - 1]
    return radii


def _blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """(which rows of x, their squared distances to all of y)."""
    for start, distances in squared_distances(x, y):
        yield slice(start, start + len(distances)), distances


def _check(samples: np.ndarray, reference: np.ndarray, num_neighbours: int) -> float:
    """Refuses what is no pair of sets of features; returns `_TIE` in their units."""
    largest = 0.0
    for name, features in (("samples", samples), ("reference", reference)):
        for rows in feature_batches(features, name):
            largest = max(largest, float(np.square(rows).sum(1).max()))
        if not 1 <= num_neighbours < len(features):
            raise ValueError(
                f"num_neighbours = {num_neighbours} of {len(features)} {name}: give 1 or more, and "
                "more rows than neighbours"
            )
    if samples.shape[1] != reference.shape[1]:
        raise ValueError(
            f"features have {samples.shape[1]} and {reference.shape[1]} dimensions; take both from "
            "the same feature network"
        )
    return _TIE * largest
