"""The Wasserstein GAN with gradient penalty: its loss by hand and its bias, its fresh batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import alpha_gan, wgan_gp
from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.dequantization import dequantize
from gm_jax.losses.adversarial import LOSSES, discriminator_terms
from gm_jax.networks.mlp import Mlp
from tests.support import LEVELS, SPEC, images, noise_of, random_variables, zeros_like

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


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_between_shifted_gaussians_the_critic_reads_the_shift_and_the_bias_of_its_penalty(shift):
    """c + c²/(2λ), where its slope 1 + c/(2λ) balances the penalty."""
    weight, length = 10.0, jnp.array([0.6, 0.8])
    critic = Mlp((16,), 1)
    optimizer = optax.adam(optax.linear_schedule(0.02, 0.0, 400), 0.5, 0.9)

    def apart(params, key, count):
        normal, other, fraction = jax.random.split(key, 3)
        real = jax.random.normal(normal, (count, 2)) + shift * length
        fake = jax.random.normal(other, (count, 2))
        judge = lambda x: critic.apply(params, x)[:, 0]  # noqa: E731
        return discriminator_terms(
            LOSSES["wasserstein"], judge, real, fake, jax.random.uniform(fraction, (count,)), weight
        )

    def update(carry, key):
        params, state = carry
        gradient = jax.grad(lambda p: sum(t.mean() for t in apart(p, key, 256).values()))(params)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    params = critic.init(KEY, jnp.zeros((1, 2)))
    keys = jax.random.split(KEY, 400)
    (params, _), _ = jax.jit(lambda p: jax.lax.scan(update, (p, optimizer.init(p)), keys))(params)
    found = -apart(params, jax.random.key(1), 100_000)["wasserstein"].mean()
    assert abs(found / (shift + shift**2 / (2 * weight)) - 1) < 0.02


def of_dcgan(batch_norm=False):
    config = alpha_gan.get_config("wgan_gp,smoke").unlock()
    config.model.discriminator.batch_norm = batch_norm
    return methods.create(config.lock(), image_spec((8, 8, 3), 17))


def test_on_the_dcgans_networks_the_critic_moves_five_times_on_batches_of_its_own():
    config = alpha_gan.get_config("wgan_gp,cifar10")
    gan = methods.create(config, image_spec((32, 32, 3), 256))
    order = [(player.name, player.batch) for player in gan.players]
    assert order == [*(("discriminator", number) for number in range(5)), ("generator", 0)]


@pytest.mark.parametrize("batch_norm", [False, True])
def test_batch_norm_in_the_critic_takes_the_penalty_from_its_example(batch_norm):
    """Without it (the default) an image's slope does not depend on the other images."""
    gan, batch = of_dcgan(batch_norm), {"image": images(4, seed=1, shape=(8, 8, 3))}
    shapes = jax.eval_shape(gan.init, KEY, batch).params["discriminator"]
    params = {"params": jax.tree.map(lambda leaf: leaf + 0.1, zeros_like(shapes))}
    x = jax.random.normal(KEY, (4, 8, 8, 3))

    def slopes(x):
        judge = lambda x: gan.judge({"discriminator": params}, x, None, noise_of(KEY, 4)).sum()  # noqa: E731
        return jax.grad(judge)(x)

    moved = np.abs(slopes(x.at[1:].multiply(2.0)) - slopes(x))[0].max()
    assert (moved > 1e-6) == batch_norm


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
