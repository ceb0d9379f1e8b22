"""Precision, recall, density and coverage by neighbours: by hand, at their extremes, in blocks."""

import tracemalloc

import numpy as np
import pytest

from gm_jax.evaluation import density_coverage, manifold_precision_recall, nearest_neighbours

BOTH = pytest.mark.parametrize("metric", [manifold_precision_recall, density_coverage])


def column(*values):
    return np.array(values, np.float64)[:, None]


def test_five_points_on_a_line():
    """k = 1: the reference's balls are 0±1, 1±1, 2±1, 4±2 and 8±4; the samples' first is ½±7½."""
    reference, samples = column(0, 1, 2, 4, 8), column(0.5, 8, 20, 21, 23)
    # ½ lies in two balls and 8 in one; three balls have a sample in them.
    assert density_coverage(samples, reference, 1) == pytest.approx((3 / 5, 3 / 5))
    assert manifold_precision_recall(samples, reference, 1) == pytest.approx((2 / 5, 1))


def test_the_second_neighbour_makes_larger_balls():
    """k = 2: 0±2, 1±1, 2±2, 4±3 and 8±6, of which 13 reaches only the last, and 5 three."""
    reference, samples = column(0, 1, 2, 4, 8), column(13, 13.5, 5)
    assert density_coverage(samples, reference, 2) == pytest.approx(((1 + 1 + 2) / 6, 2 / 5))
    assert manifold_precision_recall(samples, reference, 2).precision == 1


def test_equal_sets_have_everything():
    """A point lies in its own ball, in those of which it is inside, and on one edge per ball."""
    points = np.random.default_rng(0).normal(size=(60, 4))
    assert manifold_precision_recall(points, points[::-1]) == (1, 1)
    assert density_coverage(points, points[::-1]) == pytest.approx((6 / 5, 1))


def test_sets_far_apart_have_nothing():
    samples, reference = np.random.default_rng(1).normal(size=(2, 40, 3))
    assert manifold_precision_recall(samples + 100, reference) == (0, 0)
    assert density_coverage(samples + 100, reference) == (0, 0)


def test_a_collapsed_model_is_precise_and_recalls_nothing():
    """All samples are one real image, whose balls' radius is zero."""
    reference = np.random.default_rng(2).normal(size=(50, 3))
    samples = np.repeat(reference[:1], 50, axis=0)
    assert manifold_precision_recall(samples, reference) == pytest.approx((1, 1 / 50))
    density, coverage = density_coverage(samples, reference)
    assert density >= 1 and coverage < 1 / 2


def test_swapping_the_sets_swaps_precision_and_recall():
    few, many = np.random.default_rng(3).normal(size=(2, 100, 3)) * [[[0.4]], [[1]]]
    forward, backward = manifold_precision_recall(few, many), manifold_precision_recall(many, few)
    assert forward == backward[::-1] and forward.precision > 0.9 > forward.recall


def test_equal_distributions_have_their_expected_density_and_coverage():
    """E density = 1, E coverage = 1 − Π_i (n − i) / (2n − i), i = 1..k (Naeem et al. 2020)."""
    random, n, k = np.random.default_rng(4), 50, 3
    values = [density_coverage(*random.normal(size=(2, n, 2)), k) for _ in range(200)]
    steps = np.arange(1, k + 1)
    expected = 1, 1 - np.prod((n - steps) / (2 * n - steps))
    errors = np.std(values, axis=0) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, axis=0) - expected) < 4 * errors).all()


@BOTH
def test_blocks_change_nothing_and_bound_the_memory(metric, monkeypatch):
    """The distances of 1,500 rows would take 18 MB."""
    samples, reference = np.random.default_rng(5).normal(size=(2, 1_500, 3))
    whole = metric(samples, reference)
    monkeypatch.setattr(nearest_neighbours, "_MOST_VALUES", 2**15)
    tracemalloc.start()
    blocks = metric(samples, reference)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert blocks == whole and peak < 2e6


@BOTH
@pytest.mark.parametrize(
    ("samples", "reference", "message"),
    [
        (np.zeros((5, 2)), np.zeros((9, 2)), "num_neighbours = 5 of 5 samples"),
        (np.zeros((9, 2)), np.zeros((9, 3)), "2 and 3 dimensions"),
        (np.zeros((9, 2)), np.full((9, 2), np.inf), "reference: 9 of 9 rows"),
    ],
)
def test_bad_features_are_refused(metric, samples, reference, message):
    with pytest.raises(ValueError, match=message):
        metric(samples, reference, 5)
