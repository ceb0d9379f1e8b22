"""Builds methods from pages and traces the shapes of what they compute; nothing is compiled."""

import chex
import jax
import jax.numpy as jnp

from gm_jax import methods
from gm_jax.data import image_spec
from gm_jax.data.fields import SECOND_DOMAIN, Field, blanks, label_field


def create(config, frozen=None):
    """The method of a config, for the images or points that the config is for."""
    first, _, second = config.data.source.removeprefix("pair:").partition("|")
    spec = spec_of(first, config.data.resize or 32)
    if second:
        other = spec_of(second, config.data.resize or 32)
        spec |= {name + SECOND_DOMAIN: field for name, field in other.items()}
    return methods.create(config, spec, frozen)


def spec_of(source, side):
    """The fields of a source; images of unknown size have this side."""
    if source.startswith("points:"):
        return {"point": Field((2,), "float32"), "label": label_field(8)}
    others = {
        "digits": ((8, 8, 1), 17),
        "binary:digits": ((8, 8, 1), 2),
        "colored:digits": ((8, 8, 3), 17),
        "tfds:fashion_mnist": ((28, 28, 1), 256),
        "tfds:mnist": ((28, 28, 1), 256),
        "binary:tfds:mnist": ((28, 28, 1), 2),
        "colored:tfds:mnist": ((28, 28, 3), 256),
        "colored:tfds:fashion_mnist": ((28, 28, 3), 256),
    }
    return image_spec(*others.get(source, ((side, side, 3), 256)), 10)


def zero_batch(method, size):
    """A batch of black images, or of the origin, all of the first class."""
    return jax.tree.map(jnp.asarray, blanks(method.data, size))


def initial(method, size=4):
    """Shapes of the state before the first step."""
    return jax.eval_shape(method.init, jax.random.key(0), zero_batch(method, size))


def step(method, config):
    """Shapes of the state, which a step keeps, and of the step's terms."""
    state, batch = initial(method), zero_batch(method, config.data.batch_size)
    after, terms = jax.eval_shape(method.train_step, state, batch, jax.random.key(0))
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    return state, terms
