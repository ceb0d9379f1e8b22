"""Equivariant layers: permutations, equal samples, the variance by hand, several devices."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import devices
from gm_jax.networks.mlp import Mlp
from gm_jax.networks.sngan import ConvolutionalDiscriminator
from gm_jax.nn.equivariant import Equivariant, equivariant
from gm_jax.nn.layers import PLAIN
from tests.support import randomized

SYMMETRIC = equivariant(PLAIN)
POINTS = jax.random.normal(jax.random.key(0), (16, 3))
IMAGES = jax.random.normal(jax.random.key(1), (8, 8, 8, 1))
NETWORKS = {
    "mlp": (Mlp((5,), None, layers=SYMMETRIC), POINTS),
    "convolutional": (ConvolutionalDiscriminator((4, 6), 0.1, None, layers=SYMMETRIC), IMAGES),
}


def applied(name):
    """(a network's outputs as a function of its inputs, inputs)."""
    network, x = NETWORKS[name]
    return jax.jit(partial(network.apply, randomized(network.init(jax.random.key(2), x)))), x


@pytest.mark.parametrize("name", NETWORKS)
def test_permuted_examples_give_permuted_outputs(name):
    network, x = applied(name)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(network(x[order]), network(x)[order], rtol=1e-4, atol=1e-5)
    changed = network(x.at[0].set(3.0))  # another example's output depends on it
    assert np.abs(changed[1] - network(x)[1]) > 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_eight_devices_see_one_batch(name):
    network, x = applied(name)
    together = jax.pmap(network, devices.AXIS)(x.reshape(8, -1, *x.shape[1:]))
    np.testing.assert_allclose(together.ravel(), network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_that_of_the_global_batch(name):
    network, x = applied(name)

    def slope(x):
        return jax.grad(lambda x: jnp.sum(network(x) ** 3))(x)

    together = jax.pmap(slope, devices.AXIS)(x.reshape(8, -1, *x.shape[1:]))
    np.testing.assert_allclose(together.reshape(x.shape), slope(x), rtol=1e-3, atol=1e-5)


def test_equal_samples_give_one_dense_layer():
    """bias + x·(B·Λ + Γ)/(B + 1)."""
    layer, size = Equivariant(partial(nn.Dense, 4)), 5
    x = jnp.broadcast_to(POINTS[:1], (size, 3))
    variables = randomized(layer.init(jax.random.key(0), x))
    own, mean = variables["params"]["Dense_0"], variables["params"]["Dense_1"]
    expected = own["bias"] + x @ (size * own["kernel"] + mean["kernel"]) / (size + 1)
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-5, atol=1e-6)
    assert "bias" not in mean


def test_two_layers_compute_the_batchs_variance():
    """x − ρ(x), squared, then ρ: the note of section 4.3.2."""
    size, width = POINTS.shape
    network = Mlp((width,), width, activation=jnp.square, layers=SYMMETRIC)
    eye, zeros = jnp.eye(width), jnp.zeros((width, width))

    def layer(own, mean):
        return {
            "Dense_0": {"kernel": own * (size + 1) / size, "bias": jnp.zeros(width)},
            "Dense_1": {"kernel": mean * (size + 1)},
        }

    params = {"Equivariant_0": layer(eye, -eye), "Equivariant_1": layer(zeros, eye)}
    found = network.apply({"params": params}, POINTS)
    expected = np.broadcast_to(np.var(POINTS, 0), POINTS.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_at_the_start_the_mean_weighs_a_bth_of_the_example():
    """Λ and Γ are drawn alike, and enter with B/(B + 1) and 1/(B + 1)."""
    layer = Equivariant(partial(nn.Dense, 2000, use_bias=False), use_bias=False)
    x = jax.random.normal(jax.random.key(3), (9, 50))
    variables = layer.init(jax.random.key(4), x)
    of_mean = layer.apply(variables, jnp.broadcast_to(x[:1], x.shape))  # ρ = x
    kernels = variables["params"]
    own, mean = (x @ kernels[f"Dense_{i}"]["kernel"] for i in (0, 1))
    np.testing.assert_allclose(of_mean[0], 0.9 * own[0] + 0.1 * mean[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own.std() / mean.std(), 1, atol=0.05)
