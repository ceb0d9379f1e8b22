"""What several tests share: the tiny AGAVE and images for it."""

import functools

import jax
import numpy as np

from configs import agave
from gm_jax import methods

SHAPE, LEVELS = (8, 8, 1), 17


def smoke_config(**model):
    """The smoke config under plain SGD, which hides no constant factor of a gradient."""
    config = agave.get_config("smoke").unlock()
    config.optimizer.name, config.optimizer.learning_rate = "sgd", 1e-4
    config.model.update(model)
    return config.lock()


@functools.cache
def smoke_method():
    return methods.create(smoke_config(), SHAPE, LEVELS, None)


def images(count, seed=0, shape=SHAPE, levels=LEVELS):
    return np.random.default_rng(seed).integers(0, levels, (count, *shape)).astype(np.uint8)


@functools.cache
def smoke_state():
    """Host copy of an initial state (train steps donate theirs)."""
    batch = {"image": images(16)}
    return jax.device_get(jax.jit(smoke_method().init)(jax.random.key(1), batch))
