"""The k-sample bound is the logarithm of a mean of weights."""

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.losses.importance_weighted import importance_weighted

LOG_WEIGHTS = 3 * jax.random.normal(jax.random.key(0), (5, 4))


def test_it_is_the_log_of_the_mean_weight():
    expected = np.log(np.exp(np.asarray(LOG_WEIGHTS, np.float64)).mean(0))
    np.testing.assert_allclose(importance_weighted(LOG_WEIGHTS), expected, rtol=1e-6)
    far = importance_weighted(LOG_WEIGHTS - 5_000)  # where e^ is 0 in any precision
    np.testing.assert_allclose(far, expected - 5_000, rtol=1e-6)


def test_the_gradient_is_the_normalised_weight():
    gradient = jax.grad(lambda weights: importance_weighted(weights).sum())(LOG_WEIGHTS)
    weights = np.exp(np.asarray(LOG_WEIGHTS, np.float64))
    np.testing.assert_allclose(gradient, weights / weights.sum(0), rtol=1e-5)


def test_one_weight_is_itself():
    np.testing.assert_array_equal(importance_weighted(LOG_WEIGHTS[:1]), LOG_WEIGHTS[0])


def test_it_is_no_less_than_the_mean_of_the_logarithms():
    assert (importance_weighted(LOG_WEIGHTS) > LOG_WEIGHTS.mean(0)).all()
    low = importance_weighted(jnp.asarray(LOG_WEIGHTS, jnp.bfloat16))
    assert low.dtype == jnp.float32
