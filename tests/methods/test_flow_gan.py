"""Flow-GAN: both of its losses by hand, its penalty, its order, and samples that have a density."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import flow, flow_gan
from gm_jax import methods
from gm_jax.dequantization import CENTRED, dequantize, requantize
from tests.support import LABELLED, LEVELS, SPEC, images, noise_of, random_variables

KEY, BATCH = jax.random.key(0), {"image": images(8, seed=1)}
NOISE = noise_of(KEY, 8)


@functools.cache
def method(mode="hybrid", **model):
    config = flow_gan.get_config(f"{mode},smoke").unlock()
    config.model.update(model)
    return methods.create(config.lock(), SPEC)


@functools.cache
def variables():
    return random_variables(method(), BATCH)


def critic(x):
    return method().discriminator.apply(variables()["discriminator"], x)


def sampled(noise):
    """G(z) of the latents that a loss draws from this noise."""
    return jax.jit(method().generate)(variables(), noise.normal(method().num_latents))


def test_a_sample_has_the_features_that_it_was_made_of():
    """f(f⁻¹(z)) = z, and a drawn image is that sample, rounded."""
    x, z = sampled(NOISE), NOISE.normal(8, 8, 1)
    inner = method().flow.transforms[1]
    own = {"params": variables()["flow"]["params"]["transforms_1"]}
    density = jax.jit(lambda x: inner.apply(own, x, None, method="forward_and_log_det")[0])
    np.testing.assert_allclose(density(x), z, atol=1e-4)
    drawn = jax.jit(method().draw)(variables(), NOISE, None, 1.0)["image"]
    np.testing.assert_array_equal(drawn, requantize(x, LEVELS, CENTRED))


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_the_flow_minimises_the_adversarial_loss_and_the_weighted_likelihood(weight):
    ours = method(likelihood_weight=weight)
    terms = jax.jit(lambda v: ours.generator_loss(v, BATCH, NOISE, 0).terms)(variables())
    of_samples, of_data = NOISE.split()
    np.testing.assert_allclose(terms["adversarial"], -critic(sampled(of_samples)), rtol=1e-4)
    if not weight:
        assert terms.keys() == {"adversarial"}
        return
    exact = jax.jit(ours.log_likelihood)(variables(), BATCH, of_data)["log_likelihood"]
    np.testing.assert_allclose(terms["prior"] + terms["log_det"], -weight * exact, rtol=1e-4)


def test_the_critics_penalty_is_on_the_gradient_over_the_whole_image():
    """Not on that along the rows, which is shorter."""
    loss = jax.jit(lambda v: method().discriminator_loss(v, BATCH, NOISE, 0).terms)
    pixels, latents, fraction = NOISE.split(3)
    real, fake = dequantize(BATCH["image"], LEVELS, pixels, CENTRED), sampled(latents)
    epsilon = fraction.uniform()[:, None, None, None]
    slopes = jax.jit(jax.vmap(jax.grad(lambda x: critic(x[None])[0])))
    slope = slopes(epsilon * real + (1 - epsilon) * fake)
    expected = 10 * (jnp.sqrt(jnp.sum(slope**2, (1, 2, 3))) - 1) ** 2
    terms = loss(variables())
    np.testing.assert_allclose(terms["gradient_penalty"], expected, rtol=1e-3)
    np.testing.assert_allclose(terms["wasserstein"], critic(fake) - critic(real), atol=1e-4)


def test_the_flow_moves_on_the_batch_that_the_first_update_of_the_critic_saw():
    order = [(player.name, player.batch) for player in method(critic_steps=3).players]
    assert order == [*(("discriminator", number) for number in range(3)), ("generator", 0)]
    assert {player.networks for player in method().players} == {("discriminator",), ("flow",)}


def test_all_modes_have_the_same_density():
    found = [
        jax.jit(method(mode).log_likelihood)(variables(), BATCH, NOISE)["log_likelihood"]
        for mode in flow_gan.MODELS
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-6)
    assert {method(mode).likelihood for mode in flow_gan.MODELS} == {"bound"}


def test_a_flow_whose_inverse_has_no_gradient_is_refused():
    config = flow_gan.get_config("hybrid,smoke").unlock()
    residual = flow.get_config("residual,smoke").model
    config.model.network, config.model.interval = residual.network, residual.interval
    with pytest.raises(ValueError, match="'residual', whose inverse is a search without a grad"):
        methods.create(config.lock(), SPEC)


def test_classes_are_refused():
    config = flow_gan.get_config("hybrid,smoke").unlock()
    config.model.class_conditional = True
    with pytest.raises(ValueError, match="a Flow-GAN's flow knows no classes"):
        methods.create(config.lock(), LABELLED)
