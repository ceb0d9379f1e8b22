"""Every variant of the config is complete, and builds on the images that it is for."""

import chex
import jax
import jax.numpy as jnp
import pytest

from configs import real_nvp
from gm_jax import methods

IMAGES = {"digits": ((8, 8, 1), 17), "smoke": ((8, 8, 1), 17)}


@pytest.mark.parametrize("variant", real_nvp.VARIANTS)
def test_a_step_of_every_variant_builds(variant):
    config = real_nvp.get_config(variant)
    shape, levels = IMAGES.get(variant, ((32, 32, 3), 256))
    method = methods.create(config, shape, levels, 10)
    batch = {"image": jnp.zeros((config.data.batch_size, *shape), jnp.uint8)}
    key = jax.random.key(config.seed)
    state = jax.eval_shape(method.init, key, batch)
    after, terms = jax.eval_shape(method.train_step, state, batch, key)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert {"loss", "bits_per_dim", "prior", "log_det"} < set(terms)
    assert config.is_locked and isinstance(config.train.checkpoint_every_steps, int)


def test_the_papers_variant_has_the_published_schedule():
    network = real_nvp.get_config("cifar10").model.real_nvp
    couplings = (network.num_checkerboard, network.num_channel, network.num_last)
    assert couplings == (3, 3, 4)
    assert (network.num_scales, network.num_blocks, network.features) == (2, 8, 64)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"'cifar100'.*cifar10"):
        real_nvp.get_config("cifar100")
