"""The IAF-VAE alone: its bound, its k-sample objective, its draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vae_iaf
from gm_jax import methods
from gm_jax.data import image_spec
from tests.support import LEVELS, SPEC, images, noise_of, random_variables

KEY = jax.random.key(3)
BATCH = {"image": images(8, seed=2)}
NOISE = noise_of(KEY, 8)
DRAWS = [NOISE.replace(key=key) for key in jax.random.split(KEY, 3)]


@functools.cache
def method(**model):
    config = vae_iaf.get_config("smoke").unlock()
    config.model.update(model)
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables():
    return random_variables(method(), BATCH)


@functools.cache
def score():
    return jax.jit(method().log_likelihood)


@functools.cache
def loss_of(samples, floor):
    """((the loss, its terms and curves as means), its gradient or, of one sample, None)."""
    chosen = method(num_importance_samples=samples, free_bits=floor)

    def loss(variables):
        wanted = chosen.loss(variables, BATCH, NOISE, 0)
        terms, curves = (jax.tree.map(jnp.mean, tree) for tree in (wanted.terms, wanted.curves))
        return sum(terms.values()), {**terms, **curves}

    if samples == 1:
        return jax.jit(loss)(variables()), None
    return jax.jit(jax.value_and_grad(loss, has_aux=True))(variables())


def test_the_gradient_of_several_samples_is_that_of_the_naive_bound():
    """The mean over images of ln of the mean of weights, one z after the other."""

    def naive(variables):
        scores = [method().log_likelihood(variables, BATCH, draw) for draw in DRAWS]
        logs = jnp.stack([score["log_likelihood"] for score in scores])
        return -jnp.mean(jax.nn.logsumexp(logs, axis=0) - jnp.log(3))

    expected = jax.jit(jax.value_and_grad(naive))(variables())
    (loss, _), gradient = loss_of(3, 0.0)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-6)
    scale = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected[1]))
    for mine, other in zip(*map(jax.tree.leaves, (gradient, expected[1])), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-5 * scale)


def test_more_samples_give_no_higher_loss():
    """Jensen: ln of a mean is no less than the mean of ln, draw by draw."""
    (loss, terms), _ = loss_of(3, 0.0)
    each = [score()(variables(), BATCH, draw)["log_likelihood"] for draw in DRAWS]
    assert loss < -np.mean(each) and terms.keys() == {"importance_weighted", "kl", "bits_per_dim"}
    np.testing.assert_allclose(terms["bits_per_dim"], loss / (64 * np.log(2)), rtol=1e-5)


def test_one_sample_is_the_reported_bound_and_free_bits_raise_its_loss_alone():
    one_draw = NOISE.replace(key=jax.random.split(KEY, 1)[0])
    reported = {name: part.mean() for name, part in score()(variables(), BATCH, one_draw).items()}
    (loss, terms), _ = loss_of(1, 0.0)
    for total in (-reported["log_likelihood"], terms["regularization"] + terms["reconstruction"]):
        np.testing.assert_allclose(loss, total, rtol=1e-6)
    np.testing.assert_allclose(terms["regularization"], reported["kl"], rtol=1e-5)
    np.testing.assert_allclose(terms["reconstruction"], -reported["reconstruction"], rtol=1e-5)
    (floored, floored_terms), _ = loss_of(1, 20.0)
    assert floored > loss + 1
    for name in ("reconstruction", "kl", "bits_per_dim"):
        np.testing.assert_allclose(floored_terms[name], terms[name], rtol=1e-6)


def test_reconstructions_come_from_the_encoded_latents():
    drawn = jax.jit(method().reconstruct, static_argnums=3)(variables(), BATCH, NOISE, 2)
    latent_noise, pixel_noise = NOISE.split()
    latents = jax.jit(method().encode)(variables(), BATCH, latent_noise)
    second = pixel_noise.split()[1]
    decoded = jax.jit(method().decode)(variables(), latents, second)
    np.testing.assert_array_equal(decoded["f_z"], drawn["f_z"])
    np.testing.assert_array_equal(decoded["image"], drawn["image_2"])
    assert (drawn["image"] != drawn["image_2"]).any()


def test_at_temperature_zero_a_sample_is_its_mean():
    draw = jax.jit(lambda t: method().sample(variables(), KEY, 4, temperature=t))
    warm, cold = draw(1.0), draw(0.0)
    np.testing.assert_array_equal(cold["image"], cold["f_z"])
    np.testing.assert_array_equal(cold["image"][0], cold["image"][1])
    assert (warm["image"] != warm["f_z"]).any() and (warm["f_z"][0] != warm["f_z"][1]).any()
    assert warm["image"].max() < LEVELS


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="num_importance_samples is 0; give a whole number from 1"):
        method(num_importance_samples=0)
    with pytest.raises(ValueError, match=r"free_bits = 0.6 with 2"):
        method(num_importance_samples=2)
    with pytest.raises(ValueError, match="2 channels: VaeIaf models images of 1 or 3"):
        methods.create(vae_iaf.get_config("smoke"), image_spec((8, 8, 2), LEVELS))
