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


def test_batch_norm_standardises_all_hidden_layers_but_the_first():
    """In training by the batch, with a shift and no scale; in evaluation by running averages."""
    network = Mlp((5, 4), 2, lambda x: x, batch_norm=True)
    variables = network.init(jax.random.key(1), X, train=True)
    params = jax.tree.map(lambda leaf: leaf + 0.5, variables["params"])
    assert params["Dense_1"].keys() == {"kernel"} and params["BatchNorm_0"].keys() == {"bias"}
    first = X.reshape(8, 6) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    hidden = first @ params["Dense_1"]["kernel"]
    normal = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5) + 0.5
    expected = normal @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"]
    given = {**variables, "params": params}
    outputs, _ = network.apply(given, X, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(network.apply(given, X[:1]), network.apply(given, X)[:1], rtol=1e-4)
