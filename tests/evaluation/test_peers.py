"""The numbers that other libraries give for the same features, computed once with them.

torch-fidelity 0.4.0 (kid_subsets of all 200 rows, fid, prc), clean-fid 0.1.35 and prdc 0.2, whose
results agree with each other to the digits that stand here.
"""

import numpy as np
import pytest

from gm_jax.evaluation import (
    density_coverage,
    feature_statistics,
    frechet_distance,
    kernel_distance,
    manifold_precision_recall,
)


def features():
    """Samples and reference, float64 [200, 16] each."""
    random = np.random.default_rng(0)
    return 1.2 * random.normal(size=(200, 16)) + 0.3, random.normal(size=(200, 16))


def test_kernel_distance():
    """torch-fidelity and clean-fid."""
    mean, std = kernel_distance(*features(), num_subsets=2, subset_size=200)
    assert mean == pytest.approx(0.2639316752511632, rel=1e-12)
    assert std == pytest.approx(0, abs=1e-12)


def test_frechet_distance():
    """torch-fidelity and clean-fid."""
    samples, reference = map(feature_statistics, features())
    assert frechet_distance(*samples, *reference) == pytest.approx(2.62014456163538, rel=1e-12)


@pytest.mark.parametrize(("neighbours", "expected"), [(3, (0.44, 0.915)), (5, (0.53, 0.975))])
def test_precision_and_recall(neighbours, expected):
    """torch-fidelity and prdc."""
    found = manifold_precision_recall(*features(), neighbours)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("neighbours", "expected"), [(3, (0.35, 0.585)), (5, (0.383, 0.775))])
def test_density_and_coverage(neighbours, expected):
    """prdc."""
    assert density_coverage(*features(), neighbours) == pytest.approx(expected, abs=1e-12)


def test_spread_of_the_kernel_distance_over_subsets():
    """torch-fidelity's mean and deviation over 100 subsets of 50 rows, which its own seed draws."""
    mean, std = kernel_distance(*features(), num_subsets=100, subset_size=50)
    assert mean == pytest.approx(0.24049, abs=4 * 0.104 * np.sqrt(2 / 100))
    assert std == pytest.approx(0.10396, rel=0.3)  # whose own error is 7 %
