"""Distributions of images: they sum or integrate to one, and draws have their probabilities."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import distributions
from gm_jax.networks import decoder_distributions as pixels
from tests.support import noise_of

LEVELS, SHAPE = 3, (1, 2, 1)  # nine images
ALL = np.array([*itertools.product(range(LEVELS), repeat=2)], np.uint8).reshape(-1, *SHAPE)
DISCRETE = ["discretized_logistic", "logistic_mixture", "softmax"]
KEY = jax.random.key(0)


def parameters_of(distribution, shape=SHAPE, seed=0):
    """Parameters of one image, [1, ...], and learned ones, all far from their initial values."""
    generator = np.random.default_rng(seed)
    outputs = generator.normal(size=(1, *shape[:2], distribution.num_outputs(shape[2])))
    return distribution.parameters(
        jnp.asarray(outputs, jnp.float32),
        lambda name, init, size: 0.5 * jnp.asarray(generator.normal(size=size), jnp.float32),
    )


def repeated(parameters, count):
    """Parameters for equal images; those that are learned for all have fewer axes."""
    return jax.tree.map(
        lambda leaf: jnp.repeat(leaf, count, 0) if leaf.ndim > 3 else leaf, parameters
    )


@pytest.mark.parametrize("name", DISCRETE)
def test_the_probabilities_of_all_images_sum_to_one(name):
    distribution = pixels.LIKELIHOODS[name](LEVELS, -0.5)
    parameters = repeated(parameters_of(distribution), len(ALL))
    log_prob = distribution.log_prob(distributions.scale_to_unit(ALL, LEVELS), parameters)
    assert jnp.sum(jnp.exp(log_prob)) == pytest.approx(1, rel=1e-5)


def test_the_probabilities_of_a_bernoulli_variable_sum_to_one():
    distribution = pixels.LIKELIHOODS["bernoulli"](2, 0.0)
    both = jnp.array([-1.0, 1.0]).reshape(2, 1, 1, 1)
    parameters = repeated(parameters_of(distribution, (1, 1, 1)), 2)
    assert jnp.sum(jnp.exp(distribution.log_prob(both, parameters))) == pytest.approx(1)


@pytest.mark.parametrize("name", DISCRETE)
def test_images_are_drawn_with_their_probabilities(name):
    count = 4_000
    distribution = pixels.LIKELIHOODS[name](LEVELS, -0.5)
    one = parameters_of(distribution)
    x = distributions.scale_to_unit(ALL, LEVELS)
    expected = np.exp(distribution.log_prob(x, repeated(one, len(ALL))))
    drawn = distribution.draw(
        repeated(one, count), distribution.noise(noise_of(KEY, count), SHAPE), 1.0
    )
    numbers = np.asarray(distributions.quantize(drawn, LEVELS)).reshape(count, 2) @ [LEVELS, 1]
    share = np.bincount(numbers, minlength=len(ALL)) / count
    assert (np.abs(share - expected) < 4 * np.sqrt(expected / count) + 1e-3).all()


def test_a_softmax_has_the_mean_of_its_levels():
    distribution = pixels.Softmax(LEVELS)
    parameters = parameters_of(distribution)
    probability = np.asarray(jax.nn.softmax(parameters))[0]
    np.testing.assert_allclose(
        distribution.mean(parameters)[0], probability @ [-1.0, 0.0, 1.0], rtol=1e-5
    )


@pytest.mark.parametrize("spread", ["", "_channel", "_pixel", "_full"])
def test_a_gaussian_density_is_that_of_its_draws(spread):
    """Against the density with the mean and covariance of draws, of 2 pixels of 2 channels."""
    shape, count = (1, 2, 2), 20_000
    distribution = pixels.LIKELIHOODS["gaussian" + spread](LEVELS, -0.5)
    one = parameters_of(distribution, shape)
    noise = distribution.noise(noise_of(KEY, count), shape)
    drawn = np.asarray(distribution.draw(repeated(one, count), noise, 1.0)).reshape(count, 4)
    covariance = np.cov(drawn.T)
    x = np.float32([0.3, -0.2, 0.5, 0.1])
    offset = x - drawn.mean(0)
    exact = -0.5 * (
        offset @ np.linalg.solve(covariance, offset) + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    ours = distribution.log_prob(jnp.asarray(x).reshape(1, *shape), one)
    assert ours[0] == pytest.approx(exact, abs=0.1)
    correlated = np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() > 0.1
    assert correlated == (spread == "_full")


def test_a_full_covariance_of_many_values_is_refused():
    distribution = pixels.FullGaussian(0.0)
    with pytest.raises(ValueError, match=r"3072 values, and would learn 3072² numbers"):
        distribution.parameters(jnp.zeros((1, 32, 32, 3)), lambda *_: jnp.zeros((1, 1)))
