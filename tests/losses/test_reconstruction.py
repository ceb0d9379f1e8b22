"""Distances from reconstructions: their values by hand, and the likelihood that one of them is."""

import numpy as np
import pytest
from scipy import stats

from gm_jax.losses.reconstruction import half_squared, l1

X, Y = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 2)).astype(np.float32)


def test_l1_is_summed_or_averaged_over_an_examples_values():
    expected = np.abs(X - Y).sum((1, 2, 3))
    np.testing.assert_allclose(l1("sum")(X, Y), expected, rtol=1e-5)
    np.testing.assert_allclose(l1("mean")(X, Y), expected / 40, rtol=1e-5)


def test_half_of_the_summed_square_is_a_gaussian_log_likelihood_but_for_a_constant():
    log_prob = stats.norm(Y, 1).logpdf(X).sum((1, 2, 3)) + 20 * np.log(2 * np.pi)
    np.testing.assert_allclose(half_squared("sum")(X, Y), -log_prob, rtol=1e-5)


def test_another_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction is 'max'; choose among sum, mean"):
        l1("max")
