"""The optimizers do what their papers print."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from gm_jax import optimizers


def config(name, **fields):
    return ConfigDict(
        {
            "name": name,
            "learning_rate": 0.1,
            "learning_rate_decay": 1.0,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
            "epsilon_root": 0.0,
            "clip_norm": 0.0,
        }
        | fields
    )


def run(optimizer, gradients):
    params = {"w": jnp.zeros(2)}
    state = optimizer.init(params)
    for gradient in gradients:
        updates, state = optimizer.update({"w": jnp.array(gradient)}, state, params)
        params = optax.apply_updates(params, updates)
    return params["w"]


def test_adamax_has_no_bias_correction():
    gradients = [[1.0, -2.0], [3.0, 0.5]]
    mean, norm, w = np.zeros(2), np.zeros(2), np.zeros(2)
    for gradient in np.array(gradients):
        mean = 0.9 * mean + 0.1 * gradient
        norm = np.maximum(0.999 * norm + 1e-8, np.abs(gradient))
        w -= 0.1 * mean / norm
    np.testing.assert_allclose(run(optimizers.create(config("adamax")), gradients), w, rtol=1e-5)


def test_adam_takes_epsilon_inside_the_root():
    gradient = 1e-4
    expected = -0.1 * gradient / np.sqrt(gradient**2 + 1e-8)
    adam = optimizers.create(config("adam", epsilon=0.0, epsilon_root=1e-8))
    np.testing.assert_allclose(run(adam, [[gradient, 0.0]])[0], expected, rtol=1e-5)


def test_the_rate_decays_a_factor_a_step():
    sgd = optimizers.create(config("sgd", learning_rate_decay=0.5))
    np.testing.assert_allclose(run(sgd, [[1.0, 0.0]] * 3)[0], -0.1 * 1.75, rtol=1e-6)


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(ValueError, match=r"'adagrad'.*adamax, adam, sgd"):
        optimizers.create(config("adagrad"))


def test_long_gradients_are_shortened_to_the_clip_norm():
    sgd = optimizers.create(config("sgd", clip_norm=2.0))
    np.testing.assert_allclose(run(sgd, [[6.0, 8.0]]), [-0.12, -0.16], rtol=1e-6)
    np.testing.assert_allclose(run(sgd, [[0.6, 0.8]]), [-0.06, -0.08], rtol=1e-6)
    with pytest.raises(ValueError, match=r"clip_norm is -1.0.*0 for none"):
        optimizers.create(config("sgd", clip_norm=-1.0))
