"""The multilayer perceptron, by hand and with other kinds of layers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.networks.mlp import Mlp
from gm_jax.nn import layers
from gm_jax.nn.spectral_norm import iterate
from gm_jax.nn.weight_norm import data_dependent_init

X = jax.random.normal(jax.random.key(0), (8, 3, 2))


def test_it_is_dense_layers_with_a_nonlinearity_between():
    network = Mlp((5, 4), 2, nn.tanh)
    params = network.init(jax.random.key(1), X)["params"]
    h = X.reshape(8, 6)
    for layer in range(3):
        h = h @ params[f"Dense_{layer}"]["kernel"] + params[f"Dense_{layer}"]["bias"]
        h = np.tanh(h) if layer < 2 else h
    np.testing.assert_allclose(network.apply({"params": params}, X), h, rtol=1e-5, atol=1e-6)


def test_with_spectral_layers_it_is_1_lipschitz():
    network = Mlp((16, 16), 1, layers=layers.spectral_norm("reshaped", 50))
    variables, _ = iterate(network, network.init(jax.random.key(1), X), X)
    slopes = jax.grad(lambda x: network.apply(variables, x).sum())(X).reshape(8, 6)
    assert 0.05 < jnp.linalg.norm(slopes, axis=1).max() <= 1 + 1e-3


def test_with_weight_normalised_layers_it_starts_standardised_on_data():
    network = Mlp((16,), 3, layers=layers.WEIGHT_NORM)
    outputs, variables = data_dependent_init(network, jax.random.key(1), X)
    np.testing.assert_allclose(outputs.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(outputs.std(0), 1, rtol=1e-3)
    apply = functools.partial(network.apply, variables)
    np.testing.assert_allclose(apply(X), outputs, rtol=1e-4, atol=1e-5)
