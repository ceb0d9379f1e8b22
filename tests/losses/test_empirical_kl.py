"""The divergence of a batch's moments from the standard normal, on batches of known moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gm_jax import devices
from gm_jax.losses.empirical_kl import empirical_kl

CODES = np.array([[0.5, -1.0], [1.5, 3.0]], np.float32)  # means 1, 1; deviations ½, 2


def test_it_is_the_divergence_of_normals_with_the_batchs_moments():
    """KL(N(1, ½²) ‖ N(0, 1)) = .8181 (Eq. 18 with its printed signs gives 1.8181)."""
    ticks = np.linspace(-20, 20, 100_001)
    q = stats.norm(1, [[0.5], [2.0]])
    log_ratio = q.logpdf(ticks) - stats.norm.logpdf(ticks)
    expected = (q.pdf(ticks) * log_ratio).sum(1) * (ticks[1] - ticks[0])
    np.testing.assert_allclose(expected[0], 0.8181, atol=1e-4)
    np.testing.assert_allclose(empirical_kl(CODES), expected.mean(), rtol=1e-5)


def test_it_is_least_and_zero_at_the_standard_normal():
    codes = np.array([[-1.0, 1.0], [1.0, -1.0]], np.float32)
    np.testing.assert_allclose(empirical_kl(codes), 0, atol=1e-6)
    np.testing.assert_allclose(jax.grad(empirical_kl)(codes), 0, atol=1e-6)


def test_ages_code_takes_the_variance_for_the_deviation():
    squared = CODES.mean(0) + np.array([[-1], [1]]) * CODES.std(0) ** 2  # whose deviation it is
    np.testing.assert_allclose(empirical_kl(CODES, "variance"), empirical_kl(squared), rtol=1e-5)


def test_the_moments_are_those_of_all_devices():
    codes = jax.random.normal(jax.random.key(0), (16, 5)) * jnp.arange(1, 6) + 1
    found = jax.pmap(empirical_kl, devices.AXIS)(codes.reshape(8, 2, 5))
    np.testing.assert_allclose(found, np.full(8, empirical_kl(codes)), rtol=1e-5)


def test_equal_codes_have_a_finite_divergence_and_gradient():
    codes = np.ones((4, 2), np.float32)
    assert np.isfinite(empirical_kl(codes)) and np.isfinite(jax.grad(empirical_kl)(codes)).all()


def test_an_unknown_moment_is_refused():
    with pytest.raises(ValueError, match="kl_moment is 'std'; choose among deviation, variance"):
        empirical_kl(CODES, "std")
