"""Adaptive density estimation: two players who move their own networks, and a bound by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import adaptive_density as configs
from gm_jax import methods
from gm_jax import state as train_state
from gm_jax.dequantization import dequantize
from gm_jax.state import evaluation_variables
from tests.support import LEVELS, SHAPE, images, jacobian_log_det, randomized

KEY = jax.random.key(0)
INDEX = np.arange(16, dtype=np.int32)
BATCH = {"image": images(16, seed=1), "index": INDEX}
GENERATOR = ("real_nvp", "encoder", "decoder")


@functools.cache
def method_of(variant="av_ade,smoke", num_classes=None, **model):
    config = configs.get_config(variant).unlock()
    config.sample.from_mean = model.pop("from_mean", True)
    config.model.update(model)
    return methods.create(config.lock(), SHAPE, LEVELS, num_classes)


@functools.cache
def state():
    return jax.device_get(jax.jit(method_of().init)(KEY, BATCH))


@functools.cache
def variables():
    """Away from where they start; of the decoder's deviation, not so far as to be blind."""
    moved = randomized(evaluation_variables(state()))
    moved["decoder"]["params"]["log_std"] = np.float32(-1)
    return moved


@functools.cache
def score():
    return jax.jit(method_of().log_likelihood)


def largest(tree):
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@functools.cache
def adversarial_gradient():
    """(the adversarial term, its gradient by network), at a step; the warm-up is one long."""
    params, start = {name: variables()[name]["params"] for name in GENERATOR}, state()

    def term(params, step):
        whole = train_state.with_statistics(start, params)
        return method_of()._generator_loss(whole, BATCH, KEY, None, step)[1][0]["adversarial"]

    return jax.jit(lambda step: jax.value_and_grad(term)(params, step))


def test_the_adversarial_term_does_not_move_the_invertible_network():
    """5.1: f_ψ learns from the likelihood alone; of the encoder the samples know nothing."""
    term, gradient = adversarial_gradient()(1)
    assert term != 0 and largest(gradient["decoder"]) > 0.01
    assert largest(gradient["real_nvp"]) == largest(gradient["encoder"]) == 0
    heads = gradient["decoder"]["LatentLayer_0"]
    assert largest(heads["WeightNormConv_0"]) > 0  # the prior's
    assert largest(heads["posterior"]) == largest(gradient["decoder"]["log_std"]) == 0


def test_while_it_warms_up_the_adversarial_term_is_nothing():
    term, gradient = adversarial_gradient()(0)
    assert term == 0 and largest(gradient) == 0


@pytest.mark.parametrize(
    ("player", "broken"),
    [
        ("generator", {"gradient_penalty": np.nan}),
        ("discriminator", {"adversarial_weight": np.inf}),
    ],
)
def test_a_players_update_leaves_the_other_bit_identical(player, broken):
    """Parameters, optimizer and statistics; its own move. The other's, not finite, is skipped."""
    warm = state().replace(step=jnp.ones((), jnp.int32))
    after, _ = jax.jit(method_of(**broken).train_step)(warm, BATCH, KEY)
    assert {name for name in after.failures if after.failures[name][0] < 0} == {player}
    own = GENERATOR if player == "generator" else ("discriminator",)
    for name in state().params:
        difference = jax.tree.map(np.subtract, after.params[name], state().params[name])
        assert (largest(difference) > 0) == (name in own), name
    for name in state().opt_state:
        difference = jax.tree.map(np.subtract, after.opt_state[name], state().opt_state[name])
        assert (largest(difference) > 0) == (name == player), name
    difference = jax.tree.map(np.subtract, after.variables, state().variables)
    assert state().variables.keys() == {"real_nvp"}
    assert (largest(difference) > 0) == (player == "generator")


def test_the_parts_of_the_bound_sum_to_it_in_any_batch():
    whole = score()(variables(), BATCH, KEY)
    total = whole["reconstruction"] - whole["kl"] + whole["log_det"]
    np.testing.assert_allclose(whole["log_likelihood"], total, rtol=1e-6)
    order = np.roll(INDEX, 5)
    rolled = score()(variables(), {"image": BATCH["image"][order], "index": order}, KEY)
    for name in whole:
        np.testing.assert_allclose(rolled[name], whole[name][order], rtol=1e-4)
        assert whole[name].shape == (16,)


def test_the_bound_is_that_of_the_change_of_variables():
    """log N(f(v); µ, σ²) − KL + log|det ∂f/∂v|, of pixels v in [0, levels), for one image."""
    vae, place, model = method_of().vae, 3, variables()
    pixel_key, latent_key = jax.random.split(KEY)
    x = dequantize(BATCH["image"], LEVELS, pixel_key, INDEX)

    def features(v):
        return vae.to_features(model, v / LEVELS, train=False)[0]

    y = jax.jit(features)(x * LEVELS)
    decoding = jax.jit(vae.posterior)(model, y, x, latent_key, INDEX, None)
    deviation = (np.float64(y) - decoding.mean)[place] / np.exp(decoding.log_std)
    log_prob = -0.5 * np.sum(deviation**2) - 64 * (decoding.log_std + 0.5 * np.log(2 * np.pi))
    log_det = jacobian_log_det(features, x[place : place + 1] * LEVELS)
    expected = log_prob - decoding.kl[place].sum() + log_det
    actual = score()(variables(), BATCH, KEY)
    np.testing.assert_allclose(actual["log_det"][place], log_det, rtol=1e-4)
    np.testing.assert_allclose(actual["log_likelihood"][place], expected, rtol=1e-4)


def test_without_the_invertible_network_the_features_are_the_pixels():
    vae = method_of("vae,smoke").vae
    x = jax.random.uniform(KEY, (4, *SHAPE))
    features, log_det, statistics = vae.to_features({}, x, train=True)
    np.testing.assert_allclose(features, 2 * x - 1, atol=1e-6)
    np.testing.assert_allclose(log_det, 64 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(vae.to_image({}, features), x, atol=1e-6)
    assert statistics == {} and vae.networks == ("encoder", "decoder")


def test_without_a_discriminator_there_is_one_player():
    method = method_of("v_ade,smoke")
    shapes = jax.eval_shape(method.init, KEY, BATCH)
    _, terms = jax.eval_shape(method.train_step, shapes, BATCH, KEY)
    assert shapes.params.keys() == {*GENERATOR} and shapes.opt_state.keys() == {"generator"}
    assert {"loss", "reconstruction", "kl", "log_det", "bits_per_dim"} < terms.keys()
    assert "adversarial" not in terms


@functools.cache
def drawer(from_mean=True):
    sample = functools.partial(method_of(from_mean=from_mean).sample, variables(), KEY, 4)
    return jax.jit(lambda index, temperature: sample(temperature=temperature, index=index))


def test_a_sample_is_the_same_in_any_batch_and_differs_between_places():
    first, shifted = (drawer()(np.arange(start, start + 4), 1.0) for start in (0, 2))
    for name in ("image", "with_noise"):
        assert first[name].shape == (4, *SHAPE) and first[name].dtype == jnp.uint8
        np.testing.assert_array_equal(first[name][2:], shifted[name][:2])
        assert (first[name][0] != first[name][1]).any() and first[name].max() < LEVELS


def test_samples_are_of_the_mean_or_with_noise_as_asked():
    """Either way both are returned, and at temperature 0 they are one."""
    mean, noisy = (drawer(from_mean)(np.arange(4), 1.0) for from_mean in (True, False))
    np.testing.assert_array_equal(mean["image"], noisy["from_mean"])
    np.testing.assert_array_equal(mean["with_noise"], noisy["image"])
    assert (mean["image"] != noisy["image"]).any()
    cold = drawer()(np.arange(4), 0.0)
    np.testing.assert_array_equal(cold["image"], cold["with_noise"])
    np.testing.assert_array_equal(cold["image"][0], cold["image"][1])


def test_reconstructions_come_from_the_encoded_latents():
    method = method_of()
    reconstructed = jax.jit(method.reconstruct, static_argnums=3)(variables(), BATCH, KEY, 3)
    latent_key, noise_key = jax.random.split(KEY)
    latents = jax.jit(method.encode)(variables(), BATCH, latent_key)
    assert [z.shape for z in latents] == [(16, 1, 1, 16), (16, 4, 4, 4), (16, 8, 8, 4)]
    decode = jax.jit(method.decode)
    for draw, key in enumerate(jax.random.split(noise_key, 3)):
        decoded = decode(variables(), latents, key, INDEX)
        name = f"image_{draw + 1}" if draw else "image"
        expected = decoded["with_noise" if draw else "image"]
        np.testing.assert_array_equal(reconstructed[name], expected)
    assert (reconstructed["image_2"] != reconstructed["image_3"]).any()


def test_a_likelihood_a_dimension_is_that_of_an_image_divided():
    model = variables()

    def terms(unit):
        method = method_of(likelihood_unit=unit)
        return jax.jit(lambda: method._generator_loss(model, BATCH, KEY, None, 1)[1][0])()

    image, dimension = terms("image"), terms("dimension")
    for name in ("reconstruction", "kl", "log_det"):
        np.testing.assert_allclose(dimension[name], image[name] / 64, rtol=1e-5)
    for name in ("adversarial", "bits_per_dim"):
        np.testing.assert_allclose(dimension[name], image[name], rtol=1e-5)
    parts = ("reconstruction", "kl", "log_det", "adversarial")
    np.testing.assert_allclose(dimension["loss"], sum(dimension[name] for name in parts), rtol=1e-5)


def test_the_discriminator_may_judge_draws_around_the_mean():
    """They are its samples where the deviation vanishes, and only there."""

    def sampler(kind):
        method = method_of(adversarial_sample=kind)
        return jax.jit(functools.partial(method._adversarial_sample, label=None))

    def with_deviation(log_std):
        params = variables()["decoder"]["params"]
        return {**variables(), "decoder": {"params": {**params, "log_std": np.float32(log_std)}}}

    noise = sampler("noise")
    expected = sampler("mean")(variables(), KEY, INDEX)
    np.testing.assert_allclose(noise(with_deviation(-30), KEY, INDEX), expected, atol=1e-6)
    assert np.abs(noise(with_deviation(0), KEY, INDEX) - expected).max() > 0.1


def test_the_encoder_may_see_the_image_instead_of_its_features():
    x = dequantize(BATCH["image"], LEVELS, KEY, INDEX)
    for seen in ("image", "features"):
        vae = method_of(encoder_input=seen).vae
        posterior = jax.jit(functools.partial(vae.posterior, label=None))
        latents, others = (
            posterior(variables(), shift + 2 * x - 1, x, KEY, INDEX).latents for shift in (0, 1)
        )
        assert (largest(jax.tree.map(np.subtract, latents, others)) > 0) == (seen == "features")


def test_what_does_not_fit_is_refused():
    for field in ("likelihood_unit", "adversarial_sample", "encoder_input"):
        with pytest.raises(ValueError, match=rf"model.{field} is 'median'; choose among \("):
            method_of(**{field: "median"})
    with pytest.raises(ValueError, match=r"model.class_conditional is False: give none"):
        method_of().sample({}, KEY, 1, labels=jnp.zeros(1, int))
    with pytest.raises(ValueError, match=r"model.class_conditional is False: give none"):
        method_of().decode({}, [], KEY, INDEX, jnp.zeros(1, int))
