"""The Wasserstein GAN with gradient penalty: its loss by hand, and its fresh batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import wgan_gp
from gm_jax import methods
from gm_jax.dequantization import dequantize
from tests.support import LEVELS, SPEC, images, noise_of, random_variables

KEY = jax.random.key(0)
BATCH = {"image": images(8, seed=1)}


@functools.cache
def method(**model):
    config = wgan_gp.get_config("smoke").unlock()
    config.model.update(model)
    return methods.create(config.lock(), SPEC)


def test_the_critics_loss_is_that_of_equation_3():
    variables, noise = random_variables(method(), BATCH), noise_of(KEY, 8)
    terms = jax.jit(lambda: method().discriminator_loss(variables, BATCH, noise, 0).terms)()
    pixels, latents, fraction = noise.split(3)
    real = 2 * dequantize(BATCH["image"], LEVELS, pixels) - 1
    fake = method().generate(variables, latents.normal(method().num_latents))
    epsilon = fraction.uniform()[:, None, None, None]

    def critic(x):
        return method().discriminator.apply(variables["discriminator"], x)

    slopes = jax.jit(jax.vmap(jax.grad(lambda x: critic(x[None])[0])))
    slope = slopes(epsilon * real + (1 - epsilon) * fake).reshape(8, -1)
    expected = 10 * (jnp.linalg.norm(slope, axis=1) - 1) ** 2
    np.testing.assert_allclose(terms["wasserstein"], critic(fake) - critic(real), atol=1e-4)
    np.testing.assert_allclose(terms["gradient_penalty"], expected, rtol=1e-3)


def test_every_update_of_the_critic_sees_a_batch_of_its_own():
    order = [(player.name, player.batch) for player in method(critic_steps=3).players]
    assert order == [*(("discriminator", number) for number in range(3)), ("generator", 0)]
    assert method(critic_steps=3).batches_per_step == 3


def test_no_update_of_the_critic_is_refused():
    with pytest.raises(ValueError, match="critic_steps is 0; give a whole number from 1 on"):
        method(critic_steps=0)


def test_under_clipping_it_is_the_wasserstein_gan():
    """One term, and the critic's parameters end in the box; the generator's do not."""
    wgan = method(lipschitz="clipping", weight_clip=0.02)
    variables, noise = random_variables(method(), BATCH), noise_of(KEY, 8)
    loss = jax.eval_shape(wgan.discriminator_loss, variables, BATCH, noise, 0)
    assert loss.terms.keys() == {"wasserstein"}
    start, gradient = jax.random.normal(KEY, (2, 50))
    ends = {}
    for player in wgan.players:
        update, _ = player.optimizer.update(gradient, player.optimizer.init(start), start)
        ends[player.name] = np.abs(start + update).max()
    assert ends["discriminator"] <= 0.02 * (1 + 1e-6) and ends["generator"] > 1
