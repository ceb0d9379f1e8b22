"""The extrapolated Fréchet distance has no bias of the number of samples."""

import numpy as np
import pytest

from gm_jax.evaluation import (
    extrapolated_frechet_distance,
    feature_statistics,
    frechet_distance,
)

IDENTITY = np.zeros(6), np.eye(6)


def test_the_bias_that_the_distance_has_is_gone_and_is_the_slope():
    """Samples of N(0, I) against N(0, I) itself: the distance is 0, its bias positive at any N.

    To second order E d² = (tr Σ + ½ Σ_ij (1 + δ_ij) λ_i λ_j / (λ_i + λ_j)) / N = (6 + 21 / 2) / N.
    """
    random = np.random.default_rng(0)
    found = [
        extrapolated_frechet_distance(random.normal(size=(1_000, 6)), *IDENTITY, num_points=4)
        for _ in range(40)
    ]
    values = np.array([(each.distance, each.slope) for each in found])
    errors = values.std(0) / np.sqrt(len(found))
    assert (abs(values.mean(0) - (0, 6 + 21 / 2)) < 4 * errors).all()
    assert np.mean([each.distances[-1] for each in found]) > 6 * errors[0]  # which is far from 0


def test_the_last_point_takes_all_samples_and_the_line_is_that_of_least_squares():
    features = np.random.default_rng(2).normal(size=(300, 6))
    found = extrapolated_frechet_distance(features, *IDENTITY, num_points=5)
    np.testing.assert_array_equal(found.counts, [30, 97, 165, 232, 300])
    expected = frechet_distance(*feature_statistics(features), *IDENTITY)
    assert found.distances[-1] == pytest.approx(expected, rel=1e-9)
    residuals = found.distances - (found.distance + found.slope / found.counts)
    np.testing.assert_allclose([residuals.sum(), (residuals / found.counts).sum()], 0, atol=1e-9)


def test_the_seed_decides_the_subsets():
    features = np.random.default_rng(3).normal(size=(200, 6))
    distances = [
        extrapolated_frechet_distance(features, *IDENTITY, seed=seed).distance for seed in (5, 5, 6)
    ]
    assert distances[0] == distances[1] != distances[2]


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (19, {}, "subsets of 1 to 19 samples"),
        (20, {"smallest": 15}, "num_points=15 subsets of 15 to 20"),
        (200, {"num_points": 1}, "num_points=1 "),
    ],
)
def test_a_line_that_cannot_be_drawn_is_refused(count, options, message):
    with pytest.raises(ValueError, match=message):
        extrapolated_frechet_distance(np.zeros((count, 6)), *IDENTITY, **options)
