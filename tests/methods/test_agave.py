"""AGAVE: the objective is Eq. 3.13, the report Eq. 3.6, sampling ancestral."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.distributions import scale_to_unit
from tests.support import (
    LEVELS,
    SPEC,
    images,
    noise_of,
    random_variables,
    smoke_config,
    smoke_method,
)

KEY = jax.random.key(0)
BATCH = {"image": images(4, seed=1)}
NOISE = noise_of(KEY, 4)
TERMS = ("autoregressive", "auxiliary", "regularization")


@functools.cache
def variables():
    """Random variables, so that the condition is active and f(z) matters."""
    return random_variables(smoke_method(), BATCH)


@functools.cache
def score():
    return jax.jit(smoke_method().log_likelihood)


@functools.cache
def dropping():
    """step -> (terms and curves, gradient of each term by the VAE); the auxiliary ends at 1."""
    method = methods.create(smoke_config(auxiliary_until_step=1, free_bits=20.0), SPEC)

    def loss(vae, step):
        wanted = method.loss({**variables(), "vae": vae}, BATCH, NOISE, step)
        means = {name: jnp.mean(term) for name, term in wanted.terms.items()}
        return means, (means, wanted.curves)

    gradients = jax.jit(jax.jacrev(loss, has_aux=True))
    return lambda step: gradients(variables()["vae"], jnp.int32(step))


def steepest(gradient, *path):
    for name in ("params", *path):
        gradient = gradient[name]
    return float(jnp.abs(gradient).max())


def test_lambda_weighs_the_divergence_alone_and_until_dropped_the_auxiliary_term_is_there():
    method = methods.create(smoke_config(free_bits=0.0, kl_weight=5.0), SPEC)
    loss = jax.jit(lambda variables: method.loss(variables, BATCH, NOISE, 0)._asdict())(variables())
    terms, kl = loss["terms"], loss["curves"]["kl"]
    np.testing.assert_allclose(terms["regularization"], 5 * kl, rtol=1e-5)
    _, (light, curves) = dropping()(0)
    for name in ("autoregressive", "auxiliary"):
        np.testing.assert_allclose(light[name], terms[name].mean(), rtol=1e-5)
    np.testing.assert_allclose(curves["kl"], kl, rtol=1e-5)
    assert light["auxiliary"] > 1 and light["regularization"] > 2 * kl.mean() + 1  # floored


def test_both_decoders_train_the_encoder():
    gradient, _ = dropping()(0)
    for name in ("autoregressive", "auxiliary"):
        assert steepest(gradient[name], "stem", "v") > 0, name
    assert steepest(gradient["auxiliary"], "log_scale") > 0


def test_without_the_auxiliary_term_the_objective_is_the_reported_bound():
    """Figure 3.7's control: Eq. 3.6 with weight 1 and no floor, and the log-scale of y rests."""
    gradient, (terms, curves) = dropping()(1)
    assert terms["auxiliary"] == 0 and steepest(gradient["auxiliary"], "stem", "v") == 0
    np.testing.assert_allclose(terms["regularization"], curves["kl"].mean(), rtol=1e-5)
    bits = (terms["autoregressive"] + terms["regularization"]) / (64 * np.log(2))
    np.testing.assert_allclose(curves["bits_per_dim"], bits, rtol=1e-5)
    assert all(steepest(gradient[name], "log_scale") == 0 for name in TERMS)
    assert steepest(gradient["autoregressive"], "stem", "v") > 0


@pytest.mark.parametrize("downsampling", [1, 2])
def test_the_conditional_density_sums_to_one(downsampling):
    """Over all 3^4 images of 2×2 pixels and 3 levels, given one f(z), of any size."""
    config = smoke_config().copy_and_resolve_references().unlock()
    config.model.pixelcnn.num_scales, config.model.auxiliary.downsampling = 1, downsampling
    method = methods.create(config, image_spec((2, 2, 1), 3))
    every = np.stack(np.meshgrid(*[np.arange(3)] * 4), -1).reshape(-1, 2, 2, 1).astype(np.uint8)
    made = random_variables(method, {"image": every})
    f_z = np.array([[0.3, -1.0], [1.0, 0.1]], np.float32)[None, ::downsampling, ::downsampling]
    log_prob = jax.jit(method.autoregressive_log_prob, static_argnums=4)
    x, noise = scale_to_unit(every, 3), noise_of(KEY, 81)
    logs, others = (
        log_prob(made, x, np.broadcast_to(f[..., None], (81, *f.shape[1:], 1)), noise, False)
        for f in (f_z, -f_z)
    )
    np.testing.assert_allclose(np.exp(logs).sum(), 1, atol=1e-4)
    assert np.abs(logs - others).max() > 1e-3  # f(z) is seen


def test_latents_of_either_origin_are_decoded_and_scored_like_the_bound_and_the_samples():
    method = smoke_method()

    @jax.jit
    def run(variables):
        latents = method.encode(variables, BATCH, NOISE)
        given = method.conditional_log_prob(variables, BATCH, latents, NOISE)
        latent_noise, pixel_noise = NOISE.split()
        latents = method.sample_latents(variables, latent_noise)
        decoded = method.decode(variables, latents, pixel_noise)
        return given, decoded, method.sample(variables, KEY, 4)

    given, decoded, sampled = run(variables())
    terms = score()(variables(), BATCH, NOISE)
    np.testing.assert_allclose(given, terms["autoregressive"], rtol=1e-5)
    for name in ("f_z", "image"):
        np.testing.assert_array_equal(decoded[name], sampled[name])


AUXILIARIES = (
    {"downsampling": 2, "grayscale": False, "levels": 5},
    {"downsampling": 4, "grayscale": True, "levels": 16},
)


@pytest.mark.parametrize("auxiliary", AUXILIARIES, ids=str)
def test_an_auxiliary_image_changes_the_auxiliary_term_alone(auxiliary):
    """Its sketch has its size and channels; the bound is of x, whatever y is."""
    shape = (8, 8, 3)
    method = methods.create(smoke_config(auxiliary=auxiliary), image_spec(shape, LEVELS))
    batch = {"image": images(4, shape=shape)}
    made = random_variables(method, batch)

    @jax.jit
    def run(variables):
        latents = method.encode(variables, batch, NOISE)
        f_z = method.sketch(variables, NOISE, latents).mean
        return method.log_likelihood(variables, batch, NOISE), f_z, latents

    terms, f_z, latents = run(made)
    log_scale = made["vae"]["params"]["log_scale"]
    side, channels = 8 // auxiliary["downsampling"], 1 if auxiliary["grayscale"] else 3
    assert f_z.shape == (4, side, side, channels) and log_scale.shape == (channels,)
    expected = method.auxiliary.log_prob(method.auxiliary.of(batch["image"]), f_z, log_scale)
    np.testing.assert_allclose(terms["auxiliary"], expected, rtol=1e-4)
    total = terms["autoregressive"] - terms["kl"]
    np.testing.assert_allclose(terms["log_likelihood"], total, rtol=1e-6)
    drawn = jax.eval_shape(method.decode, made, latents, NOISE)
    assert {name: image.shape for name, image in drawn.items()} == dict.fromkeys(
        ("f_z", "image"), (4, *shape)
    )


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"kl_weight is -1.0; give a finite number from 0"):
        methods.create(smoke_config(kl_weight=-1.0), SPEC)
    with pytest.raises(ValueError, match="2 channels: Agave models images of 1 or 3"):
        methods.create(smoke_config(), image_spec((8, 8, 2), LEVELS))
    with pytest.raises(ValueError, match=r"auxiliary_until_step is -2"):
        methods.create(smoke_config(auxiliary_until_step=-2), SPEC)
    with pytest.raises(ValueError, match=r"auxiliary.levels = 18: give 2 to 17"):
        coarse = {"downsampling": 1, "grayscale": False, "levels": 18}
        methods.create(smoke_config(auxiliary=coarse), SPEC)
    with pytest.raises(ValueError, match="Agave: class_conditional is False: give none"):
        smoke_method().sample({}, KEY, 1, labels=jnp.zeros(1))
