"""The likelihood around a generator bounds the known likelihood of a linear generator."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import gan_likelihood
from gm_jax import methods
from gm_jax import state as train_state
from gm_jax.data import image_spec
from gm_jax.evaluation.likelihood import stream_importance_weights
from gm_jax.methods.method import Method
from tests.support import noise_of

KEY = jax.random.key(0)
FLAT, LINEAR_LEVELS, STD = (2, 2, 1), 256, 0.2
FLAT_SPEC = image_spec(FLAT, LINEAR_LEVELS)
MATRIX = 0.4 * np.array([[1.0, 0.5, 0.0, -0.5], [0.0, 1.0, 0.5, 0.5]], np.float32)


class Linear(Method):
    """G(z) = Aᵀz: the images around it are Gaussian."""

    num_latents, generator_networks = 2, ("linear",)

    def __init__(self, class_conditional=False):
        self.class_conditional = class_conditional

    def init_networks(self, key, batch, noise):
        return {"linear": {"params": {"matrix": jnp.asarray(MATRIX)}}}

    def generate(self, variables, latents, labels=None):
        return (latents @ variables["linear"]["params"]["matrix"]).reshape(-1, *FLAT)


@functools.cache
def linear():
    config = gan_likelihood.get_config("smoke").unlock()
    config.optimizer.learning_rate, config.model.encoder.widths = 0.01, (8,)
    return methods.create(config.lock(), FLAT_SPEC, {"generator": Linear()})


@functools.cache
def images_of_linear(count):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(count, 2)) @ MATRIX + STD * generator.normal(size=(count, 4))
    levels = np.clip(np.floor((x + 1) / 2 * LINEAR_LEVELS), 0, LINEAR_LEVELS - 1)
    return levels.astype(np.uint8).reshape(-1, *FLAT)


@functools.cache
def linear_state():
    """Around the linear generator: before and after 1,500 steps, and the terms of each."""
    batch = {"image": images_of_linear(256)}
    start = jax.jit(linear().init)(KEY, batch)

    @jax.jit
    def train(state):
        step = lambda state, _: linear().train_step(state, batch, KEY)  # noqa: E731
        return jax.lax.scan(step, state, None, 1_500)

    after, terms = train(start)
    return jax.device_get((start, after, terms))


def test_many_draws_find_the_likelihood_and_one_draw_lies_below_it():
    _, state, _ = linear_state()
    batch = {"image": images_of_linear(8), "index": np.arange(8)}
    x = (batch["image"].reshape(8, 4) + 0.5) * 2 / LINEAR_LEVELS - 1  # the noise is level-wide
    variance = np.exp(2 * float(state.params["noise"]["log_std"]))
    covariance = MATRIX.T @ MATRIX + variance * np.eye(4)
    distance = np.einsum("ni,ij,nj->n", x, np.linalg.inv(covariance), x)
    log_det = np.linalg.slogdet(2 * np.pi * covariance)[1]
    truth = -0.5 * (distance + log_det) + 4 * np.log(2 / LINEAR_LEVELS)
    score = jax.jit(functools.partial(stream_importance_weights, linear().log_likelihood))
    sums = score(train_state.evaluation_variables(state), batch, (KEY, jnp.int32(20_000)))
    np.testing.assert_allclose(sums["largest"] + sums["log_mean"], truth, atol=0.02)
    assert (sums["anchor"] + sums["mean_above_anchor"] < truth).all()


def test_the_noise_of_the_images_is_found_around_a_generator_that_stays():
    _, after, terms = linear_state()
    np.testing.assert_allclose(after.params["noise"]["log_std"], np.log(STD), atol=0.1)
    assert np.mean(terms["loss"][-50:]) < terms["loss"][0] - 1
    np.testing.assert_array_equal(after.params["generator_linear"]["matrix"], MATRIX)
    assert set(after.opt_state) == {"inference"}


def test_the_bits_are_those_of_the_loss_and_a_level_has_its_volume():
    _, _, terms = linear_state()
    bits = terms["loss"] / (4 * np.log(2))
    np.testing.assert_allclose(terms["bits_per_dim"], bits, rtol=1e-5)
    np.testing.assert_allclose(terms["log_det"], 4 * np.log(128), rtol=1e-6)


def test_noise_and_reconstructions_are_those_of_the_latents():
    variables = train_state.evaluation_variables(linear_state()[1])
    batch, noise = {"image": images_of_linear(256)}, noise_of(KEY, 256)
    drawn = jax.jit(linear().reconstruct, static_argnums=3)(variables, batch, noise, 2)
    latents = jax.jit(linear().encode)(variables, batch, noise.split()[0])
    decoded = jax.jit(linear().decode)(variables, latents, noise)
    np.testing.assert_array_equal(drawn["image"], decoded["image"])
    assert (drawn["image"] != drawn["image_2"]).any()
    error = (decoded["with_noise"].astype(float) - decoded["image"]) * 2 / LINEAR_LEVELS
    std = np.exp(variables["noise"]["params"]["log_std"])
    np.testing.assert_allclose(error.std(), std, rtol=0.15)  # the ends clip some
    np.testing.assert_allclose(error.mean(), 0, atol=0.02)


def test_a_generator_with_classes_asks_for_labels():
    frozen = {"generator": Linear(class_conditional=True)}
    with pytest.raises(ValueError, match="class_conditional is True, but the images have no label"):
        methods.create(gan_likelihood.get_config("smoke"), FLAT_SPEC, frozen)
    labelled = image_spec(FLAT, LINEAR_LEVELS, 10)
    assert methods.create(gan_likelihood.get_config("smoke"), labelled, frozen).num_classes == 10
