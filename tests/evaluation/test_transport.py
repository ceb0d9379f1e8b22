"""The Wasserstein distance of two sets of points."""

import numpy as np
import pytest

from gm_jax.evaluation.transport import wasserstein_distance

RNG = np.random.default_rng(0)


def test_a_shift_costs_its_length():
    """No plan beats that of moving each point by the shift: the mean moves as far."""
    points, shift = RNG.normal(size=(40, 3)), np.array([0.3, -2.0, 0.5])
    moved = RNG.permutation(points + shift)
    np.testing.assert_allclose(wasserstein_distance(points, moved), np.linalg.norm(shift))


def test_on_a_line_the_best_plan_keeps_the_order():
    a, b = RNG.normal(size=(30, 1)), RNG.uniform(size=(30, 1))
    expected = np.abs(np.sort(a, 0) - np.sort(b, 0)).mean()
    np.testing.assert_allclose(wasserstein_distance(a, b), expected)


def test_it_is_a_metric():
    a, b, c = RNG.normal(size=(3, 20, 2))
    assert wasserstein_distance(a, a) == 0
    np.testing.assert_allclose(wasserstein_distance(a, b), wasserstein_distance(b, a))
    through_c = wasserstein_distance(a, c) + wasserstein_distance(c, b)
    assert wasserstein_distance(a, b) <= through_c


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((3, 2)), np.zeros((4, 2)), "one shape"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "n ≥ 1"),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), "NaN"),
    ],
)
def test_sets_that_cannot_be_matched_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        wasserstein_distance(a, b)
