"""Real-NVP: an exact density of dequantised images, and images back from features."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import real_nvp as configs
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.evaluation.likelihood import kind_of_likelihood
from gm_jax.networks.real_nvp import magnitudes
from tests.support import LEVELS, SPEC, images, noise_of, random_variables

KEY = jax.random.key(0)
BATCH = {"image": images(16, seed=1)}
NOISE = noise_of(KEY, 16)


@functools.cache
def method(l2_penalty=None):
    config = configs.get_config("smoke").unlock()
    if l2_penalty is not None:
        config.model.l2_penalty = l2_penalty
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables():
    return random_variables(method(), BATCH)


def test_the_likelihood_is_of_the_features_and_the_images_come_back_from_them():
    @jax.jit
    def run(variables):
        features = method().encode(variables, BATCH, NOISE)
        way_back = method().decode(variables, features, NOISE)["image"]
        return features, way_back, method().log_likelihood(variables, BATCH, NOISE)

    features, way_back, terms = run(variables())
    prior = -0.5 * (np.square(features).sum((1, 2, 3)) + 64 * np.log(2 * np.pi))
    np.testing.assert_allclose(terms["prior"], prior, rtol=1e-5)
    np.testing.assert_allclose(terms["log_likelihood"], prior + terms["log_det"], rtol=1e-5)
    np.testing.assert_array_equal(way_back, BATCH["image"])
    assert method().likelihood == method().flow.likelihood
    assert kind_of_likelihood(method()) == "lower bound, one sample"  # of discrete images


def test_the_penalty_is_of_the_magnitudes_and_not_in_the_bits():
    loss = jax.jit(lambda variables: method(3e-3).loss(variables, BATCH, NOISE, 0)._asdict())
    terms, curves = (loss(variables())[name] for name in ("terms", "curves"))
    squares = sum(np.sum(leaf**2) for leaf in magnitudes(variables()["real_nvp"]["params"]))
    np.testing.assert_allclose(terms["regularization"], 3e-3 * squares, rtol=1e-5)
    nats = np.mean(terms["prior"] + terms["log_det"])
    np.testing.assert_allclose(curves["bits_per_dim"], nats / (64 * np.log(2)), rtol=1e-5)


def test_samples_tighten_with_the_temperature():
    draw = jax.jit(lambda t: method().sample(variables(), KEY, 4, temperature=t)["image"])
    warm, cold = draw(1.0), draw(0.0)
    assert (warm[0] != warm[1]).any() and warm.max() < LEVELS
    np.testing.assert_array_equal(cold, jnp.broadcast_to(cold[0], cold.shape))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="invertible network asked for a data set with a single"):
        methods.create(configs.get_config("smoke"), image_spec((8, 8, 1), 1))
    config = configs.get_config("smoke").unlock()
    config.model.real_nvp.num_scales = 3
    with pytest.raises(ValueError, match=r"6×8 pixels do not fit 3 scales.*multiples of 4"):
        methods.create(config.lock(), image_spec((6, 8, 1), LEVELS))
    with pytest.raises(ValueError, match="RealNvp: class_conditional is False: give none"):
        method().sample({}, KEY, 1, labels=jnp.zeros(1))
