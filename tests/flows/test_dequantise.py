"""Dequantisation bounds the probability of levels, which is that of their intervals."""

import functools

import jax
import numpy as np
import pytest
from jax.scipy.stats import norm

from gm_jax.flows.dequantise import Dequantise, Logit
from gm_jax.flows.transform import Chain, Context
from tests.support import images, noise_of

LEVELS, DRAWS = 5, 4096


@functools.cache
def log_probs():
    """ln p of the levels 0..4 as images of one dimension, [levels, draws]; and the true ln P."""
    flow = Chain((Dequantise(LEVELS), Logit(0.05)))
    v = np.repeat(np.arange(LEVELS, dtype=np.uint8), DRAWS)[:, None]
    log_prob, _ = flow.apply(
        {}, v, Context(True, noise_of(jax.random.key(0), len(v))), method="log_prob"
    )
    edges = 0.05 + 0.9 * np.arange(LEVELS + 1) / LEVELS
    truth = np.diff(norm.cdf(np.log(edges) - np.log1p(-edges)))
    return np.float64(log_prob).reshape(LEVELS, DRAWS), truth


def test_one_draw_is_a_lower_bound_in_the_mean():
    log_prob, truth = log_probs()
    gap = np.log(truth) - log_prob.mean(1)
    assert (gap > 0).all() and gap.max() < 0.2


def test_the_mean_probability_of_draws_is_that_of_the_level():
    log_prob, truth = log_probs()
    np.testing.assert_allclose(np.exp(log_prob).mean(1), truth, rtol=0.02)
    assert 0.99 < truth.sum() < 1  # what is missing lies outside of [0, 1]


@pytest.mark.parametrize("interval", [(0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5)])
def test_the_inverse_gives_the_levels_and_the_correction_back(interval):
    layer, v = Dequantise(17, interval), images(8)
    context = Context(False, noise_of(jax.random.key(0), 8))
    x, log_det = layer.forward_and_log_det(v, context)
    back, inverse_log_det = layer.inverse_and_log_det(x, context)
    np.testing.assert_array_equal(back, v)
    np.testing.assert_array_equal(inverse_log_det, -log_det)
    low, high = interval
    np.testing.assert_allclose(log_det, np.full(8, 64 * np.log((high - low) / 17)), rtol=1e-6)
    assert low < x.min() and x.max() < high


def test_what_lies_outside_goes_to_the_end_levels():
    y = np.array([[-0.3, 0.1, 0.9, 1.7]], np.float32)
    v, _ = Dequantise(4).inverse_and_log_det(y, Context(False))
    np.testing.assert_array_equal(v, [[0, 0, 3, 3]])
