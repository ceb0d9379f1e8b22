"""The least-squares GAN: both losses by hand, and the divergence that they minimise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lsgan
from gm_jax import methods
from gm_jax.dequantization import dequantize
from gm_jax.losses.adversarial import LOSSES
from tests.support import LEVELS, SPEC, images, noise_of, random_variables

BATCH = {"image": images(8, seed=1)}
DATA = jnp.array([0.5, 0.25, 0.125, 0.0625, 0.0625])
MODEL = jnp.array([0.1, 0.1, 0.2, 0.2, 0.4])


@functools.cache
def method(**targets):
    config = lsgan.get_config("smoke").unlock()
    config.model.targets.update(targets)
    return methods.create(config.lock(), SPEC)


def optimum(a, b):
    """The best discriminator of two laws on a discrete space (Eq. 5)."""
    return (b * DATA + a * MODEL) / (DATA + MODEL)


def test_both_losses_are_those_of_equation_2():
    gan, noise = method(a=-0.5, b=2.0, c=0.5), noise_of(jax.random.key(0), 8)
    variables = random_variables(gan, BATCH)
    of_both = (gan.discriminator_loss, gan.generator_loss)
    found = jax.jit(lambda: [loss(variables, BATCH, noise, 0).terms for loss in of_both])()
    pixels, latents, _ = noise.split(3)
    real = 2 * dequantize(BATCH["image"], LEVELS, pixels) - 1

    def critic(x):
        return gan.discriminator.apply(variables["discriminator"], x)

    def on_samples(noise):
        return critic(gan.generate(variables, noise.normal(gan.num_latents)))

    expected = ((critic(real) - 2.0) ** 2 + (on_samples(latents) + 0.5) ** 2) / 2
    np.testing.assert_allclose(found[0]["least_squares"], expected, rtol=1e-3)
    np.testing.assert_allclose(found[1]["adversarial"], (on_samples(noise) - 0.5) ** 2 / 2, 1e-3)


@pytest.mark.parametrize(("a", "b"), [(0.0, 1.0), (-1.0, 1.0)])
def test_the_discriminators_loss_is_least_between_its_targets(a, b):
    def loss(logits):
        real, fake = jnp.meshgrid(logits, logits, indexing="ij")
        losses = method(a=a, b=b, c=b).adversarial_loss.discriminator(real, fake)
        return jnp.sum(DATA[:, None] * MODEL * losses)

    np.testing.assert_allclose(jax.grad(loss)(optimum(a, b)), 0, atol=1e-6)


def test_the_targets_of_equation_8_minimise_pearsons_divergence():
    """Over data and samples together, as c on data does not move the generator (Eqs. 4 and 7)."""
    losses = method(a=-1.0, b=1.0, c=0.0).adversarial_loss.generator(optimum(-1.0, 1.0))
    both = DATA + MODEL
    divergence = jnp.sum((2 * MODEL - both) ** 2 / both)
    np.testing.assert_allclose(2 * jnp.sum(both * losses), divergence, rtol=1e-5)


def test_the_pages_targets_are_the_losses_known_by_name():
    logits = jax.random.normal(jax.random.key(0), (2, 9))
    ours, named = method().adversarial_loss, LOSSES["least_squares"]
    np.testing.assert_array_equal(ours.discriminator(*logits), named.discriminator(*logits))
    np.testing.assert_array_equal(ours.generator(logits[0]), named.generator(logits[0]))


@pytest.mark.parametrize("targets", [{"a": 1.0}, {"b": 0.0}, {"c": -1.0}])
def test_targets_that_do_not_move_samples_to_the_data_are_refused(targets):
    with pytest.raises(ValueError, match="samples move to the data where b and c"):
        method(**targets)
