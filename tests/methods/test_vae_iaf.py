"""The IAF-VAE alone: its bound, its k-sample objective, its draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vae_iaf
from gm_jax import methods
from tests.support import LEVELS, SHAPE, images

KEY = jax.random.key(3)
BATCH = {"image": images(8, seed=2)}


@functools.cache
def method(**model):
    config = vae_iaf.get_config("smoke").unlock()
    config.model.update(model)
    return methods.create(config.lock(), SHAPE, LEVELS, None)


@functools.cache
def params():
    """Host copy of initial parameters."""
    return jax.device_get(jax.jit(method().init)(KEY, BATCH)).params


def variables(params):
    return {"vae": {"params": params["vae"]}}


@functools.cache
def gradient_of(samples, floor):
    """Value, terms and gradient of the training loss."""
    chosen = method(num_importance_samples=samples, free_bits=floor)

    def loss(params):
        value, (terms, _) = chosen._loss(variables(params), BATCH, KEY, None)
        return value, terms

    return jax.jit(jax.value_and_grad(loss, has_aux=True))(params())


def naive(params, num_samples):
    """Mean over images of ln of the mean of weights, one z after the other."""
    keys = jax.random.split(KEY, num_samples)
    score = method().log_likelihood
    logs = [score(variables(params), BATCH, key)["log_likelihood"] for key in keys]
    highest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, logs))
    return -jnp.mean(jnp.log(sum(jnp.exp(log - highest) for log in logs) / num_samples) + highest)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_the_gradient_is_that_of_the_naive_bound(num_samples):
    """For one sample it is the evidence lower bound's."""
    expected = jax.jit(jax.value_and_grad(naive), static_argnums=1)(params(), num_samples)
    (loss, _), gradient = gradient_of(num_samples, 0.0)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[1]))
    for mine, other in zip(*map(jax.tree.leaves, (gradient, expected[1])), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5 * scale)


def test_more_samples_give_no_higher_loss():
    """Jensen: ln of a mean is no less than the mean of ln, draw by draw."""
    (loss, terms), _ = gradient_of(3, 0.0)
    score = jax.jit(method().log_likelihood)
    each = [score(variables(params()), BATCH, key) for key in jax.random.split(KEY, 3)]
    single = -np.mean([one["log_likelihood"] for one in each])
    assert loss < single and set(terms) == {"loss", "importance_weighted", "kl", "bits_per_dim"}
    np.testing.assert_allclose(terms["importance_weighted"], loss, rtol=1e-6)


def test_the_terms_sum_to_the_loss_and_free_bits_raise_it():
    (loss, terms), _ = gradient_of(1, 0.6)
    np.testing.assert_allclose(terms["reconstruction"] + terms["regularization"], loss, rtol=1e-6)
    (bare, bare_terms), _ = gradient_of(1, 0.0)
    np.testing.assert_allclose(bare_terms["regularization"], bare_terms["kl"], rtol=1e-6)
    assert loss > bare
    np.testing.assert_allclose(terms["bits_per_dim"], bare_terms["bits_per_dim"], rtol=1e-6)


def test_reconstructions_come_from_the_encoded_latents():
    made = variables(params())
    drawn = jax.jit(method().reconstruct, static_argnums=3)(made, BATCH, KEY, 2)
    latent_key, pixel_key = jax.random.split(KEY)
    latents = jax.jit(method().encode)(made, BATCH, latent_key)
    second = jax.random.split(pixel_key, 2)[1]
    decoded = jax.jit(method().decode)(made, latents, second, jnp.arange(8))
    np.testing.assert_array_equal(decoded["f_z"], drawn["f_z"])
    np.testing.assert_array_equal(decoded["image"], drawn["image_2"])
    assert (drawn["image"] != drawn["image_2"]).any()


def test_a_sample_is_the_same_in_any_batch_and_at_temperature_zero_its_mean():
    made = variables(params())
    draw = jax.jit(lambda index, t: method().sample(made, KEY, 4, temperature=t, index=index))
    first, shifted = draw(jnp.arange(4), 1.0), draw(jnp.arange(2, 6), 1.0)
    for name in ("image", "f_z"):
        np.testing.assert_array_equal(first[name][2:], shifted[name][:2])
    cold = draw(jnp.arange(4), 0.0)
    np.testing.assert_array_equal(cold["image"], cold["f_z"])
    assert (first["image"] != first["f_z"]).any() and first["image"].max() < LEVELS


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ({"num_importance_samples": 0}, "num_importance_samples = 0: k must be ≥ 1"),
        ({"num_importance_samples": 2}, "free_bits = 0.6 with 2"),
    ],
)
def test_what_does_not_fit_is_refused(model, match):
    with pytest.raises(ValueError, match=match):
        method(**model)
    with pytest.raises(ValueError, match="2 channels"):
        methods.create(vae_iaf.get_config("smoke"), (8, 8, 2), LEVELS, None)
