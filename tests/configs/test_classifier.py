"""Every page of the classifier builds on the images that it is for."""

import chex
import jax
import jax.numpy as jnp
import pytest

from configs import classifier
from gm_jax import methods


@pytest.mark.parametrize("variant", classifier.VARIANTS)
def test_a_step_of_every_variant_builds(variant):
    config = classifier.get_config(variant)
    digits = config.data.source == "digits"
    shape, levels = ((8, 8, 1), 17) if digits else ((32, 32, 3), 256)
    method = methods.create(config, shape, levels, 10)
    batch = {"image": jnp.zeros((16, *shape), jnp.uint8), "label": jnp.zeros(16, jnp.int32)}
    state = jax.eval_shape(method.init, jax.random.key(0), batch)
    after, terms = jax.eval_shape(method.train_step, state, batch, jax.random.key(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert {"loss", "cross_entropy", "regularization", "error"} <= set(terms)
