"""Adaptive density estimation: which networks learn from which term, and a bound by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import adaptive_density as configs
from gm_jax import methods
from gm_jax.dequantization import dequantize
from gm_jax.state import evaluation_variables
from tests.support import (
    LEVELS,
    SPEC,
    images,
    jacobian_log_det,
    noise_of,
    random_variables,
)

KEY = jax.random.key(0)
BATCH = {"image": images(4, seed=1)}
NOISE = noise_of(KEY, 4)
GENERATOR = ("real_nvp", "encoder", "decoder")


@functools.cache
def method_of(variant="av_ade,smoke", **model):
    config = configs.get_config(variant).unlock()
    config.sample.from_mean = model.pop("from_mean", True)
    config.model.update(model)
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables(log_std=-1.0):
    made = random_variables(method_of(), BATCH)
    made["decoder"]["params"]["log_std"] = np.float32(log_std)
    return made


def largest(tree):
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@functools.cache
def adversarial_gradient():
    """step -> (gradient of the adversarial term by network, all terms); the warm-up is one long."""

    def adversarial(params, step):
        made = {**variables(), **{name: variables()[name] | params[name] for name in params}}
        terms = method_of().generator_loss(made, BATCH, NOISE, step).terms
        return terms["adversarial"], terms

    params = {name: {"params": variables()[name]["params"]} for name in GENERATOR}
    gradient = jax.jit(jax.grad(adversarial, has_aux=True))
    return lambda step: gradient(params, jnp.int32(step))


@functools.cache
def decode(from_mean=True):
    return jax.jit(method_of(from_mean=from_mean).decode)


@functools.cache
def latents():
    return jax.jit(method_of().encode)(variables(), BATCH, NOISE.split()[0])


def test_the_adversarial_term_does_not_move_the_invertible_network():
    """5.1: f_ψ learns from the likelihood only; the samples do not depend on the encoder."""
    gradient, terms = adversarial_gradient()(1)
    decoder = gradient["decoder"]["params"]
    assert terms["adversarial"] != 0 and largest(decoder) > 0.01
    assert largest(gradient["real_nvp"]) == largest(gradient["encoder"]) == 0
    assert largest(decoder["LatentLayer_0"]["WeightNormConv_0"]) > 0  # the prior's
    assert largest(decoder["LatentLayer_0"]["posterior"]) == largest(decoder["log_std"]) == 0


def test_while_it_warms_up_the_adversarial_term_is_nothing():
    gradient, terms = adversarial_gradient()(0)
    assert terms["adversarial"] == 0 and largest(gradient) == 0


def test_the_bound_is_that_of_the_change_of_variables():
    """ln N(f(v); µ, σ²) − KL + ln|det ∂f/∂v|, of pixels v in [0, levels), for one image."""
    place = 3
    x = dequantize(BATCH["image"], LEVELS, NOISE.split()[0])

    def features(v):
        return method_of().vae.to_features(variables(), v / LEVELS, train=False)[0]

    y = jax.jit(features)(x * LEVELS)
    posterior = functools.partial(method_of().vae.posterior, noise=NOISE.split()[1], label=None)
    decoding = jax.jit(posterior)(variables(), y, x)
    deviation = (np.float64(y) - decoding.mean)[place] / np.exp(decoding.log_std)
    log_prob = -0.5 * np.sum(deviation**2) - 64 * (decoding.log_std + 0.5 * np.log(2 * np.pi))
    log_det = jacobian_log_det(features, x[place : place + 1] * LEVELS)
    actual = jax.jit(method_of().log_likelihood)(variables(), BATCH, NOISE)
    parts = {"reconstruction": log_prob, "kl": decoding.kl[place].sum(), "log_det": log_det}
    for name, part in parts.items():
        np.testing.assert_allclose(actual[name][place], part, rtol=1e-4)
    total = actual["reconstruction"] - actual["kl"] + actual["log_det"]
    np.testing.assert_allclose(actual["log_likelihood"], total, rtol=1e-6)


def test_without_a_discriminator_there_is_one_player_whom_the_bits_judge():
    method = method_of("v_ade,smoke")
    state = jax.eval_shape(method.init, KEY, BATCH)
    loss = jax.eval_shape(method.generator_loss, evaluation_variables(state), BATCH, NOISE, 0)
    assert state.params.keys() == {*GENERATOR} and state.opt_state.keys() == {"generator"}
    assert loss.terms.keys() == {"reconstruction", "kl", "log_det"}
    assert method.validation_score == "bits_per_dim" and method_of().validation_score is None


def test_samples_are_of_the_mean_or_with_noise_as_asked():
    """Either way both are returned."""
    mean, noisy = (decode(asked)(variables(), latents(), NOISE) for asked in (True, False))
    np.testing.assert_array_equal(mean["image"], noisy["from_mean"])
    np.testing.assert_array_equal(mean["with_noise"], noisy["image"])
    assert (mean["image"] != noisy["image"]).any()


def test_at_temperature_zero_all_samples_are_one():
    draw = jax.jit(lambda t: method_of().sample(variables(), KEY, 4, temperature=t))
    hot, cold = draw(10.0), draw(0.0)  # the latents move these decoders' mean by little
    np.testing.assert_array_equal(cold["image"], cold["with_noise"])
    np.testing.assert_array_equal(cold["image"][0], cold["image"][1])
    assert (hot["image"][0] != hot["image"][1]).any() and hot["image"].max() < LEVELS


def test_reconstructions_come_from_the_encoded_latents():
    """The first is of the decoder's mean, further ones are draws around it."""
    method = method_of()
    reconstructed = jax.jit(method.reconstruct, static_argnums=3)(variables(), BATCH, NOISE, 3)
    assert [z.shape for z in latents()] == [(4, 1, 1, 16), (4, 8, 8, 4)]
    for draw, noise in enumerate(NOISE.split()[1].split(3)):
        decoded = decode()(variables(), latents(), noise)
        name = f"image_{draw + 1}" if draw else "image"
        expected = decoded["with_noise" if draw else "image"]
        np.testing.assert_array_equal(reconstructed[name], expected)
    assert (reconstructed["image_2"] != reconstructed["image_3"]).any()


def test_a_likelihood_a_dimension_is_that_of_an_image_divided():
    _, image = adversarial_gradient()(1)
    method = method_of(likelihood_unit="dimension")
    loss = jax.jit(lambda made: method.generator_loss(made, BATCH, NOISE, 1)._asdict())
    loss = loss(variables())
    nats = 0.0
    for name in ("reconstruction", "kl", "log_det"):
        np.testing.assert_allclose(loss["terms"][name], image[name] / 64, rtol=1e-4)
        nats += image[name].mean()
    np.testing.assert_allclose(loss["terms"]["adversarial"], image["adversarial"], rtol=1e-4)
    np.testing.assert_allclose(loss["curves"]["bits_per_dim"], nats / 64 / np.log(2), rtol=1e-4)


def test_the_discriminator_may_judge_draws_around_the_mean():
    """They are its samples where the deviation vanishes, and only there."""
    mean, noisy = (
        jax.jit(functools.partial(method._adversarial_sample, label=None))
        for method in (method_of(adversarial_sample=kind) for kind in ("mean", "noise"))
    )
    expected = mean(variables(), NOISE)
    np.testing.assert_allclose(noisy(variables(-30.0), NOISE), expected, atol=1e-6)
    assert np.abs(noisy(variables(0.0), NOISE) - expected).max() > 0.1


def test_what_does_not_fit_is_refused():
    for field in ("likelihood_unit", "adversarial_sample", "encoder_input"):
        with pytest.raises(ValueError, match=rf"model.{field} is 'median'; choose among \("):
            method_of(**{field: "median"})
    with pytest.raises(ValueError, match=r"model.invertible is True, but there is no model.real"):
        method_of("vae,smoke", invertible=True)
    for call in (
        lambda label: method_of().sample({}, KEY, 1, labels=label),
        lambda label: method_of().decode({}, [], NOISE, label),
    ):
        with pytest.raises(ValueError, match="Density: class_conditional is False: give none"):
            call(jnp.zeros(1, int))
