"""The configs of the GAN and of the likelihood around it fit each other on every kind of images."""

import chex
import jax
import jax.numpy as jnp
import pytest

from configs import adaptive_density, gan_likelihood
from gm_jax import methods
from gm_jax.nn.weight_norm import num_parameters

IMAGES = {"digits": ((8, 8, 1), 17), "smoke": ((8, 8, 1), 17), "stl10": ((48, 48, 3), 256)}


def create(data, model="gan"):
    config = adaptive_density.get_config(f"{model},{data}")
    return methods.create(config, *IMAGES.get(data, ((32, 32, 3), 256)), 10), config


def step_shapes(method, config):
    batch = {"image": jnp.zeros((config.data.batch_size, *method.image_shape), jnp.uint8)}
    key = jax.random.key(config.seed)
    state = jax.eval_shape(method.init, key, batch)
    after, terms = jax.eval_shape(method.train_step, state, batch, key)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    return state, terms


GANS = [("gan", "digits"), ("gan+rd", "cifar10"), ("gan+wg", "stl10")]


@pytest.mark.parametrize(("model", "data"), GANS)
def test_a_step_of_a_gan_builds(model, data):
    method, config = create(data, model)
    state, terms = step_shapes(method, config)
    assert set(state.params) == {"decoder", "discriminator"}
    assert {"generator/loss", "discriminator/gradient_penalty"} < set(terms)


@pytest.mark.parametrize("variant", gan_likelihood.SETTINGS)
def test_a_step_around_the_gan_of_every_variant_builds(variant):
    generator, _ = create(variant)
    config = gan_likelihood.get_config(variant)
    arguments = (*IMAGES.get(variant, ((32, 32, 3), 256)), 10, {"generator": generator})
    method = methods.create(config, *arguments)
    state, terms = step_shapes(method, config)
    assert {"loss", "bits_per_dim", "kl"} < set(terms) and config.is_locked
    theirs = step_shapes(*create(variant))[0].params["decoder"]
    assert num_parameters(state.params["generator_decoder"]) == num_parameters(theirs)


def test_the_gan_is_as_large_as_the_papers_networks():
    """SNGAN's generator without batch norm, and the encoder symmetric to it (appendix B)."""
    state, _ = step_shapes(*create("cifar10"))
    layers = [(128, 16 * 512, 1), (512, 256, 16), (256, 128, 16), (128, 64, 16), (64, 3, 9)]
    expected = sum(inputs * outputs * area + 2 * outputs for inputs, outputs, area in layers)
    assert num_parameters(state.params["decoder"]) == expected


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"'cifar100'.*cifar10"):
        gan_likelihood.get_config("cifar100")
