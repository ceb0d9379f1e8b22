"""AGE: the floor of its divergence on the sphere, its opposed losses, and latents that fit."""

import functools

import jax
import numpy as np
import pytest

from configs import alpha_gan
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.evaluation import latents as latent_space
from gm_jax.losses.empirical_kl import empirical_kl
from gm_jax.training.run import open_run
from tests.support import images, noise_of, random_variables

BATCH = {"image": images(8, seed=1, shape=(8, 8, 3))}
NOISE = noise_of(jax.random.key(0), 8)
close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)


@functools.cache
def method(**fields):
    config = alpha_gan.get_config("age,smoke").unlock()
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in fields.items()})
    return methods.create(config.lock(), image_spec((8, 8, 3), 17))


@functools.cache
def variables():
    return random_variables(method(), BATCH)


@functools.cache
def terms_of(player, **fields):
    loss = getattr(method(**fields), f"{player}_loss")
    return jax.jit(lambda: tuple(loss(variables(), BATCH, NOISE, 0)))()


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


FLOORS = {"deviation": (1 / 128 + np.log(128) - 1) / 2, "variance": 4.352}


@pytest.mark.parametrize("moment", FLOORS)
def test_on_the_sphere_the_divergence_has_a_floor_that_even_codes_reach(moment):
    """±e_i have mean 0 and equal variances, as the prior does: no codes come closer."""
    even = np.concatenate([np.eye(128), -np.eye(128)]).astype(np.float32)
    np.testing.assert_allclose(empirical_kl(even, moment), FLOORS[moment], atol=1e-3)
    for shift, scale in ((0.0, 0.5), (0.3, 0.0), (1.0, 1.0)):
        random = np.random.default_rng(0)
        widths = np.exp(scale * random.normal(size=128))
        codes = unit(shift + random.normal(size=(512, 128)) * widths).astype(np.float32)
        assert empirical_kl(codes, moment) > FLOORS[moment] + 1e-3


def test_the_encoder_moves_once_and_the_generator_twice():
    assert [player.name for player in method().players] == ["encoder", "generator", "generator"]
    many = method(model__generator_steps=3)
    assert [player.name for player in many.players[1:]] == ["generator"] * 3


def test_the_encoder_parts_images_from_samples_and_rebuilds_images():
    pixels, latents = NOISE.split()
    x, z = method().real(BATCH, pixels), method().sample_latents(variables(), latents)
    codes, moved = method().encode_in_training(variables(), x)
    again, _ = method().generate_in_training(variables(), codes)
    samples, _ = method().generate_in_training(variables(), z)
    of_samples, _ = method().encode_in_training(variables(), samples)
    terms, _, statistics = terms_of("encoder")
    close(terms["divergence_of_images"], empirical_kl(codes))
    close(terms["divergence_of_samples"], -empirical_kl(of_samples))
    close(terms["reconstruction"], 10 * np.abs(x - again).mean((1, 2, 3)))
    jax.tree.map(close, statistics, {"encoder": moved["encoder"]})  # of images, not of samples


def test_the_generator_makes_samples_that_their_codes_rebuild():
    z = method().sample_latents(variables(), NOISE)
    samples, moved = method().generate_in_training(variables(), z)
    codes, _ = method().encode_in_training(variables(), samples)
    terms, _, statistics = terms_of("generator")
    close(terms["divergence_of_samples"], empirical_kl(codes))
    close(terms["reconstruction"], 10 * (1 - (z * codes).sum(1)))
    jax.tree.map(close, statistics, moved)


def test_the_weights_and_the_moment_are_those_of_the_page():
    fields = {"image_weight": 100.0, "code_weight": 1.0}
    fields = {f"model__reconstruction__{name}": value for name, value in fields.items()}
    fields["model__kl_moment"] = "variance"
    for player, factor in (("encoder", 10), ("generator", 1 / 10)):
        found, before = (terms_of(player, **given)[0] for given in (fields, {}))
        np.testing.assert_allclose(found["reconstruction"], factor * before["reconstruction"], 1e-4)
        assert abs(found["divergence_of_samples"]) > 1.5 * abs(before["divergence_of_samples"])


def test_codes_and_prior_lie_on_the_sphere_and_so_does_the_way_between_them():
    codes = method().encode(variables(), BATCH, NOISE)
    prior = np.concatenate(
        [method().sample_latents(variables(), noise_of(jax.random.key(i), 512)) for i in range(8)]
    )
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([codes, prior]), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(prior.T @ prior / len(prior), np.eye(8) / 8, atol=0.015)
    way = method().interpolate(prior[:1], prior[1:2], np.linspace(0, 1, 5, dtype=np.float32))
    method().check_latents(way)
    np.testing.assert_allclose(way[[0, -1]], prior[:2], rtol=1e-5)
    inner = way[1:-1] @ prior[:2].T
    np.testing.assert_allclose(inner[1, 0], inner[1, 1], rtol=1e-4)  # the middle is in the middle


def test_latents_that_do_not_lie_on_the_sphere_are_refused():
    latents = np.full((2, 8), 8**-0.5, np.float32)
    method().check_latents(latents)
    latents[1] *= 3
    with pytest.raises(ValueError, match=r"norms from 1 to 3;.*divide each by its norm"):
        method().check_latents(latents)


def test_they_are_refused_wherever_they_are_decoded(tmp_path):
    run = open_run(alpha_gan.get_config("age,smoke"), tmp_path / "run")
    with pytest.raises(ValueError, match=r"shape \[2, 7\]; give \[N, 8\]"):
        latent_space.decode(run, {}, np.ones((2, 7)), np.arange(2))
    with pytest.raises(ValueError, match="lie on the unit sphere"):
        latent_space.decode(run, {}, np.ones((2, 8)), np.arange(2))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model__num_latents": 1}, "num_latents is 1: .*; give 2 or more"),
        ({"sample__temperature": 0.8}, "sample.temperature is 0.8: .* no scale; set 1"),
        ({"model__kl_moment": "sigma"}, "kl_moment is 'sigma'; choose among deviation, variance"),
    ],
)
def test_settings_that_do_not_fit_the_sphere_are_refused(fields, expected):
    with pytest.raises(ValueError, match=expected):
        terms_of("encoder", **fields)


def test_a_temperature_is_refused_when_samples_are_drawn():
    with pytest.raises(ValueError, match=r"temperature is 2.0: .* set 1"):
        method().sample(variables(), jax.random.key(0), 2, temperature=2.0)
