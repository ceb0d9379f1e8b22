"""The DCGAN: its losses by hand, two updates of the generator, and its dropout."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import alpha_gan
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.dequantization import dequantize
from tests.support import images, noise_of, random_variables

BATCH = {"image": images(8, seed=1, shape=(8, 8, 3))}
NOISE = noise_of(jax.random.key(0), 8)
close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)


@functools.cache
def method(dropout_rate=0.0, batch_norm=True, **model):
    config = alpha_gan.get_config("dcgan,smoke").unlock()
    config.model.discriminator.update({"dropout_rate": dropout_rate, "batch_norm": batch_norm})
    config.model.update(model)
    return methods.create(config.lock(), image_spec((8, 8, 3), 17, 10))


@functools.cache
def variables():
    return random_variables(method(), BATCH)


@functools.cache
def terms_of(player, **fields):
    loss = getattr(method(**fields), f"{player}_loss")
    return jax.jit(lambda: tuple(loss(variables(), BATCH, NOISE, 0)))()


def logits(x):
    """Each batch by its own moments."""
    return method().discriminator.apply(variables()["discriminator"], x)


def test_both_losses_are_those_of_equations_1_and_2():
    pixels, latents, _ = NOISE.split(3)
    real = 2 * dequantize(BATCH["image"], 17, pixels) - 1
    fake, _ = method().generate_in_training(variables(), latents.normal(8), None)
    expected = np.logaddexp(0, -logits(real)) + np.logaddexp(0, logits(fake))
    found, _, statistics = terms_of("discriminator")
    close(found["cross_entropy"], expected)
    assert not statistics
    fake, moved = method().generate_in_training(variables(), NOISE.normal(8), None)
    found, _, statistics = terms_of("generator")
    close(found["adversarial"], np.logaddexp(0, -logits(fake)))
    jax.tree.map(close, statistics, moved)


def test_the_generator_moves_twice_at_a_rate_of_its_own_that_is_scheduled_by_steps():
    config = alpha_gan.get_config("dcgan,smoke").unlock()
    config.optimizer.update({"name": "sgd", "decay_steps": (1,), "decay_factor": 0.5})
    config.optimizer.learning_rate.update({"generator": 0.25, "discriminator": 0.5})
    players = methods.create(config.lock(), method().data).players
    assert [player.name for player in players] == ["discriminator", "generator", "generator"]
    rates, one = {}, jnp.ones(1)
    for player in players:
        state, rates[player.name] = player.optimizer.init(one), []
        for _ in range(4):
            update, state = player.optimizer.update(one, state, one)
            rates[player.name].append(-float(update[0]))
    assert rates["discriminator"][:3] == [0.5, 0.25, 0.25]
    assert rates["generator"] == [0.25, 0.25, 0.125, 0.125]


def test_dropout_is_that_of_training():
    """It changes both losses, by the examples' own masks, and no sample."""
    for player in ("discriminator", "generator"):
        plain, dropped = (
            next(iter(terms_of(player, batch_norm=False, dropout_rate=rate)[0].values()))
            for rate in (0.0, 0.5)
        )
        assert np.abs(plain - dropped).min() > 1e-6
    samples = [
        method(dropout_rate=rate).sample(variables(), jax.random.key(0), 2)["image"]
        for rate in (0.0, 0.5)
    ]
    np.testing.assert_array_equal(*samples)


def test_a_sample_does_not_depend_on_the_others():
    z = NOISE.normal(8)
    alone, together = (method().generate(variables(), latents) for latents in (z[:1], z))
    np.testing.assert_allclose(alone[0], together[0], rtol=1e-4, atol=1e-5)


def test_labels_are_refused():
    with pytest.raises(ValueError, match="the DCGAN's networks take no labels; set it to False"):
        method(class_conditional=True)
    with pytest.raises(ValueError, match="class_conditional is False: give none"):
        method().sample(variables(), jax.random.key(0), 2, np.zeros(2, np.int32))
