"""SNGAN: which statistics move in whose update, and how many samples the generator takes."""

import functools

import jax
import numpy as np
import pytest

from configs import sngan
from gm_jax import methods
from gm_jax.state import training_variables
from tests.support import LABELLED, SPEC, images, noise_of

KEY = jax.random.key(0)
BATCH = {"image": images(4, seed=1), "label": np.arange(4, dtype=np.int32)}
NOISE = noise_of(KEY, 4)


def method_of(spec, **model):
    config = sngan.get_config("smoke").unlock()
    config.model.update(model)
    return methods.create(config.lock(), spec)


@functools.cache
def method():
    return method_of(SPEC)


@functools.cache
def variables():
    return training_variables(jax.device_get(jax.jit(method().init)(KEY, BATCH)), {})


@functools.cache
def losses():
    """The discriminator's and the generator's, with the statistics that they move."""
    given = variables()
    of_both = (method().discriminator_loss, method().generator_loss)
    return jax.jit(lambda: [tuple(loss(given, BATCH, NOISE, 0)) for loss in of_both])()


def test_the_discriminators_loss_is_the_hinge_after_a_power_iteration():
    terms, _, statistics = losses()[0]
    moved = statistics["discriminator"]
    assert moved.keys() == {"spectral_norm"}
    before = variables()["discriminator"]
    changed = jax.tree.map(
        lambda a, b: np.abs(a - b).max(), moved["spectral_norm"], before["spectral_norm"]
    )
    assert max(jax.tree.leaves(changed)) > 1e-3
    given = {**variables(), "discriminator": {**before, **moved}}
    critic, real, fake, _ = method().judged(given, BATCH, NOISE)
    expected = np.maximum(0, 1 - critic(real)) + np.maximum(0, 1 + critic(fake))
    np.testing.assert_allclose(terms["hinge"], expected, rtol=1e-4, atol=1e-5)


def test_the_generator_takes_twice_the_samples_and_moves_its_running_statistics_alone():
    terms, _, statistics = losses()[1]
    assert terms["adversarial"].shape == (8,) and statistics.keys() == {"generator"}
    latents = NOISE.normal(2, method().num_latents).reshape(8, -1)
    fake, moved = method().generate_in_training(variables(), latents, None)
    logits = method().discriminator.apply(variables()["discriminator"], fake)
    np.testing.assert_allclose(terms["adversarial"], -logits, rtol=1e-4, atol=1e-5)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4), moved, statistics)


def test_a_sample_does_not_depend_on_the_others():
    """The running statistics normalise, where in training the batch does."""
    z, given = NOISE.normal(method().num_latents), variables()
    generate = jax.jit(lambda z: method().generate(given, z))
    np.testing.assert_allclose(generate(z.at[1:].set(0))[0], generate(z)[0], rtol=1e-5, atol=1e-6)
    in_training = jax.jit(lambda z: method().generate_in_training(given, z, None)[0])
    assert np.abs(in_training(z.at[1:].set(0))[0] - in_training(z)[0]).max() > 1e-3


def test_a_label_chooses_the_samples_and_their_judgement():
    conditional = method_of(LABELLED, class_conditional=True)
    state = jax.eval_shape(conditional.init, KEY, BATCH)
    assert state.params["generator"]["BatchNorm_0"]["scale"].shape == (10, 8)
    embedding = state.params["discriminator"]["SpectralNormEmbed_0"]["embedding"]
    assert embedding.shape == (10, 8)
    after, _ = jax.eval_shape(conditional.train_step, state, (BATCH, BATCH), KEY)
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("lipschitz", "spectral", "choose among none, clipping, penalty, spectral_norm"),
        ("spectral_norm", "frobenius", "choose among reshaped, operator"),
        ("adversarial_loss", "wgan", "choose among minimax, non_saturating"),
        ("weight_clip", 0.0, "a finite number above 0"),
        ("gradient_penalty", -1.0, "a finite number from 0 on"),
        ("critic_steps", 0, "a whole number from 1 on"),
        ("samples_per_image", 0, "a whole number from 1 on"),
    ],
)
def test_what_does_not_fit_is_refused(field, value, expected):
    with pytest.raises(ValueError, match=expected):
        method_of(SPEC, **{field: value})


@pytest.mark.parametrize("control", ["none", "clipping", "penalty", "spectral_norm"])
def test_any_control_goes_with_any_loss(control):
    """Each control changes one thing: the networks' layers, the optimizer or the terms."""
    loss = "least_squares"
    composed = method_of(SPEC, lipschitz=control, adversarial_loss=loss, spectral_norm="operator")
    state = jax.eval_shape(composed.init, KEY, BATCH)
    _, terms = jax.eval_shape(composed.train_step, state, (BATCH, BATCH), KEY)
    assert f"discriminator/{loss}" in terms
    assert ("discriminator/gradient_penalty" in terms) == (control == "penalty")
    assert ("discriminator" in state.statistics) == (control == "spectral_norm")
