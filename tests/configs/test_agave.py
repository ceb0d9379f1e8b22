"""Every variant of the config is complete, and builds on the images that it is for."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from configs import agave
from gm_jax import methods
from gm_jax.nn.weight_norm import WeightNormConv, num_parameters

IMAGES = {"digits": ((8, 8, 1), 17), "smoke": ((8, 8, 1), 17)}


# Tracing a step of `cifar10` takes half a minute; its networks are built in the test of the halves.
@pytest.mark.parametrize("variant", [name for name in agave.VARIANTS if name != "cifar10"])
def test_a_step_of_every_variant_builds(variant):
    config = agave.get_config(variant)
    shape, levels = IMAGES.get(variant, ((32, 32, 3), 256))
    method = methods.create(config, shape, levels, 10)
    batch = {"image": jnp.zeros((config.data.batch_size, *shape), jnp.uint8)}
    key = jax.random.key(config.seed)
    state = jax.eval_shape(method.init, key, batch)
    after, terms = jax.eval_shape(method.train_step, state, batch, key)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert {"loss", "bits_per_dim", "kl"} < set(terms)


@pytest.mark.parametrize("variant", agave.VARIANTS)
def test_every_variant_has_the_common_fields_and_is_locked(variant):
    config = agave.get_config(variant)
    fields = (config.seed, config.data.batch_size, config.train.steps,
              config.train.checkpoint_every_steps, config.train.evaluate_every_steps)  # fmt: skip
    assert all(isinstance(field, int) for field in fields)
    assert isinstance(config.data.source, str) and config.is_locked
    with pytest.raises(AttributeError, match="typo"):
        config.train.typo = 1


def test_the_papers_halves_are_whole_in_the_papers_variant():
    config = agave.get_config("cifar10")
    method = methods.create(config, (32, 32, 3), 256, 10)
    batch = {"image": jnp.zeros((16, 32, 32, 3), jnp.uint8)}
    params = jax.eval_shape(method.init, jax.random.key(0), batch).params
    assert num_parameters(params["pixelcnn"]) == 53_659_080
    assert num_parameters(params["vae"]) == 41_557_927 + 2  # a log-scale a channel, not one
    assert config.model.kl_weight == 12.0


def test_a_constant_of_a_section_reaches_every_layer():
    config = agave.get_config("smoke").unlock()
    stds = {"vae": 0.1, "condition": 0.2, "pixelcnn": 0.3}
    config.model.update({name: {"kernel_std": std} for name, std in stds.items()})
    method = methods.create(config.lock(), *IMAGES["smoke"], 10)
    found = set()

    def record(call, args, kwargs, context):
        if isinstance(context.module, WeightNormConv):
            found.add(context.module.kernel_std)
        return call(*args, **kwargs)

    with nn.intercept_methods(record):
        jax.eval_shape(method.init, jax.random.key(0), {"image": jnp.zeros((4, 8, 8, 1), "uint8")})
    assert found == set(stds.values())


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"'cifar100'.*cifar10"):
        agave.get_config("cifar100")
