"""VAE-GAN: its three losses by hand, the layer of its features, and the gradients that are cut."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vae_gan
from gm_jax import methods
from tests.support import SPEC, images, noise_of, random_variables

BATCH = {"image": images(8, seed=1), "index": np.arange(8, dtype=np.int32)}
NOISE = noise_of(jax.random.key(0), 8)
close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
softplus = functools.partial(np.logaddexp, 0)


@functools.cache
def method(**fields):
    config = vae_gan.get_config("smoke").unlock()
    config.model.update(fields)
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables():
    return random_variables(method(), BATCH)


@functools.cache
def terms_of(player, **fields):
    """The terms of a player's loss."""
    loss = getattr(method(**fields), f"{player}_loss")
    return jax.jit(lambda: dict(loss(variables(), BATCH, NOISE, 0).terms))()


@functools.cache
def shown(**fields):
    """Logits and features of images, reconstructions and samples, as one batch."""
    x, again, made, _ = method(**fields).remade_and_made(variables(), BATCH, NOISE)
    return method(**fields).judged(variables(), x, again, made)


def half_squared(a, b):
    return 0.5 * np.square(a - b).reshape(8, -1).sum(1)


def test_the_encoders_divergence_is_that_of_its_draws_from_the_prior():
    """KL(q ‖ N(0, I)) = E_q[ln q(z) − ln p(z)], on 4,000 draws of one image's code."""
    model, given = method(), variables()
    _, outputs, _, _ = model.encoded(given, BATCH, NOISE)
    mean, log_std = np.split(np.asarray(outputs, np.float64), 2, -1)
    noise = noise_of(jax.random.key(1), 4_000)
    z = np.asarray(model.codes(jnp.repeat(outputs[:1], 4_000, 0), noise), np.float64)
    log_q = -((z - mean[0]) ** 2) / (2 * np.exp(2 * log_std[0])) - log_std[0]
    sampled = np.sum(log_q + z**2 / 2, 1)
    error = sampled.std() / 4_000**0.5
    assert abs(sampled.mean() - terms_of("encoder")["kl"][0]) < 4 * error + 1e-3


def test_features_are_the_named_layer_before_batch_norm():
    """Conv_0 is the convolution of the images alone; the logits are those of the network."""
    model = method(feature_layer="Conv_0")
    x = NOISE.normal(8, 8, 1)
    (logits, _), (features, _) = model.judged(variables(), x, -x)
    kernel = variables()["discriminator"]["params"]["Conv_0"]["kernel"]
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    expected = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", **options)
    close(features, expected)
    whole = model.discriminator.apply(variables()["discriminator"], jnp.concatenate([x, -x]))
    close(logits, whole[:8])


def test_the_encoders_error_is_between_features():
    x, _, codes, _ = method().encoded(variables(), BATCH, NOISE)
    again, _ = method().generate_in_training(variables(), codes)
    _, features = method().judged(variables(), x, again)
    assert terms_of("encoder").keys() == {"kl", "features"}
    close(terms_of("encoder")["features"], half_squared(*features))


@pytest.mark.parametrize("reconstructions", [True, False])
def test_the_generator_weighs_features_by_gamma_against_a_saturating_loss(reconstructions):
    fields = {"reconstructions_as_fakes": reconstructions, "feature_weight": 0.5}
    (_, remade, made), features = shown()
    terms = terms_of("generator", **fields)
    close(terms["features"], 0.5 * half_squared(*features[:2]))
    close(terms["samples"], -softplus(made))  # ln(1 − D)
    assert ("reconstructions" in terms) == reconstructions
    if reconstructions:
        close(terms["reconstructions"], -softplus(remade))


def test_the_discriminator_weighs_real_and_made_images_alike():
    (real, remade, made), _ = shown()
    terms = terms_of("discriminator")
    close(sum(terms.values()), softplus(-real) / 2 + (softplus(remade) + softplus(made)) / 4)
    x, _, samples, _ = method().remade_and_made(variables(), BATCH, NOISE)
    (real, made), _ = method().judged(variables(), x, samples)
    (alone,) = terms_of("discriminator", reconstructions_as_fakes=False).values()
    close(alone, (softplus(-real) + softplus(made)) / 2)


def test_no_judgement_reaches_the_encoder():
    """Its loss is blind to what follows the feature layer; its player alone moves it."""

    def loss(params):
        given = {name: {**variables()[name], "params": params[name]} for name in params}
        found = method().encoder_loss(given, BATCH, NOISE, 0).terms
        return sum(term.mean() for term in found.values())

    params = {name: collections["params"] for name, collections in variables().items()}
    found = jax.jit(jax.grad(loss))(params)
    moved = jax.tree.map(np.any, found)
    assert not moved["discriminator"]["Dense_0"]["kernel"]
    assert moved["discriminator"]["Conv_1"]["kernel"] and all(jax.tree.leaves(moved["encoder"]))
    (players,) = method().players
    assert [player.name for player in players if "encoder" in player.networks] == ["encoder"]


def test_no_feature_error_reaches_the_discriminator():
    """Its loss has the game's terms alone, and each player moves the network of its name."""
    assert terms_of("discriminator").keys() == {"real", "reconstructions", "samples"}
    (players,) = method().players
    assert all(player.networks == (player.name,) for player in players)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"feature_layer": "Conv_7"},
            "'Conv_7'; choose among BatchNorm_0, Conv_0, Conv_1, Dense_0",
        ),
        ({"adversarial_loss": "hinge"}, "'hinge', .*; choose among minimax, non_saturating"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(fields, expected):
    with pytest.raises(ValueError, match=expected):
        jax.eval_shape(method(**fields).init, jax.random.key(0), BATCH)
