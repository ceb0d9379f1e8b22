"""Spectral normalisation: σ by the singular values of the weight or of the convolution."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.nn.layers import spectral_norm
from gm_jax.nn.spectral_norm import (
    COLLECTION,
    SpectralNormConv,
    SpectralNormDense,
    SpectralNormEmbed,
    iterate,
)

X = jax.random.normal(jax.random.key(0), (3, 6, 4, 2))
CASES = [*itertools.product(["reshaped", "operator"], [1, 2], [False, True])]
every_case = pytest.mark.parametrize(("kind", "stride", "transpose"), CASES)


def layer(kind="reshaped", stride=1, transpose=False, iterations=1):
    return SpectralNormConv(
        3, (3, 3), (stride, stride), transpose=transpose, kind=kind, iterations=iterations
    )


def start(network, x=X):
    variables = network.init(jax.random.key(1), x)
    params = jax.tree.map(lambda leaf: 3 * leaf, variables["params"])
    return variables | {"params": params}


def after(network, variables, count, x=X):
    """The variables after some training forwards."""
    forward = jax.jit(lambda variables: iterate(network, variables, x)[0])
    for _ in range(count):
        variables = forward(variables)
    return variables


def matrix(network, variables, x=X[:1]):
    """The linear map of a layer [outputs, inputs], column by column."""
    columns = jnp.eye(x.size).reshape(-1, *x.shape[1:])
    outputs = network.apply(variables, columns) - network.apply(variables, jnp.zeros_like(columns))
    return np.asarray(outputs).reshape(x.size, -1).T


def largest(weight):
    return np.linalg.svd(np.asarray(weight, np.float64), compute_uv=False)[0]


@every_case
def test_the_largest_singular_value_becomes_one(kind, stride, transpose):
    """Of the kernel as a matrix [in·k², out], or of the convolution written out as a matrix."""
    network = layer(kind, stride, transpose)
    variables = after(network, start(network), 300)
    applied = matrix(network, variables)
    if kind == "operator":
        np.testing.assert_allclose(largest(applied), 1, rtol=1e-4)
    else:
        kernel = variables["params"]["kernel"]
        divided = kernel / largest(kernel.reshape(-1, 3))
        plain = (nn.ConvTranspose if transpose else nn.Conv)(3, (3, 3), (stride, stride))
        expected = matrix(plain, {"params": variables["params"] | {"kernel": divided}})
        np.testing.assert_allclose(applied, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_reshaped_value_bounds_that_of_the_convolution_from_below(stride):
    """σ(reshaped) ≤ σ(convolution) ≤ ⌈k/s⌉ · σ(reshaped)."""
    network = layer("reshaped", stride)
    sigma = largest(matrix(network, after(network, start(network), 300)))
    assert 1 < sigma <= -(-3 // stride) + 1e-4


@pytest.mark.parametrize(
    ("network", "x", "name"),
    [
        (SpectralNormDense(4), X.reshape(3, -1), "kernel"),
        (SpectralNormEmbed(5, 3), jnp.arange(5), "embedding"),
    ],
)
def test_dense_layers_and_embeddings_are_divided_by_the_norm_of_their_matrix(network, x, name):
    variables = after(network, start(network, x), 300, x)
    weight = variables["params"][name]
    expected = weight / largest(weight)
    expected = x @ expected if name == "kernel" else expected[x]
    np.testing.assert_allclose(network.apply(variables, x), expected, rtol=1e-3, atol=1e-4)


def test_a_converged_layer_is_1_lipschitz_on_pairs_of_inputs():
    network = layer("operator", 2)
    variables = after(network, start(network), 300)
    y = X[::-1] + 0.1 * X
    apart = jnp.linalg.norm((network.apply(variables, X) - network.apply(variables, y)).ravel())
    assert 0.1 < apart / jnp.linalg.norm((X - y).ravel()) <= 1 + 1e-5


@pytest.mark.parametrize("kind", ["reshaped", "operator"])
def test_the_vectors_move_in_training_alone_and_do_not_depend_on_the_batch(kind):
    network = layer(kind)
    variables = start(network)
    first, moved = iterate(network, variables, X)
    _, same = iterate(network, variables, 5 * X[:1] + 1)
    jax.tree.map(np.testing.assert_array_equal, moved, same)
    assert np.abs(moved[COLLECTION]["SpectralNorm_0"]["u"]).max() > 0
    before, after = (v[COLLECTION]["SpectralNorm_0"]["v"] for v in (variables, first))
    assert np.abs(after - before).max() > 1e-3
    _, evaluated = network.apply(variables, X, mutable=["batch_stats"])
    assert evaluated == {}


@pytest.mark.parametrize("kind", ["reshaped", "operator"])
def test_the_gradient_takes_the_vectors_for_constants(kind):
    """The slope of a forward that moves them is that of one in which they rest where they got."""
    network = SpectralNormConv(3, (3, 3), kind=kind, use_bias=False)
    variables = start(network)
    rest = {COLLECTION: variables[COLLECTION]}

    def output(kernel, mutable):
        made = network.apply({"params": {"kernel": kernel}, **rest}, X, mutable=mutable)
        return jnp.sum(jnp.sin(made[0] if mutable else made))

    kernel = variables["params"]["kernel"]
    found = jax.grad(output)(kernel, [COLLECTION])
    rest = iterate(network, variables, X)[1]
    step = 1e-2 * jax.random.normal(jax.random.key(2), kernel.shape)
    ends = [output(kernel + sign * step, False) for sign in (1, -1)]
    np.testing.assert_allclose(jnp.vdot(found, step), (ends[0] - ends[1]) / 2, rtol=1e-2)


@pytest.mark.parametrize("kind", ["conv", "dense"])
def test_a_limit_lowers_only_singular_values_above_it(kind):
    dense, x = SpectralNormDense(4, limit=0.9), X.reshape(3, -1)
    conv = SpectralNormConv(3, (3, 3), kind="operator", limit=0.9)
    network, x = (conv, X) if kind == "conv" else (dense, x)
    variables = after(network, start(network, x), 300, x)
    np.testing.assert_allclose(largest(matrix(network, variables, x[:1])), 0.9, rtol=1e-4)
    small = jax.tree.map(lambda leaf: 1e-2 * leaf, variables["params"])
    kernel = small["kernel"]
    plain = nn.Conv(3, (3, 3)) if kind == "conv" else nn.Dense(4)
    expected = plain.apply({"params": {"kernel": kernel, "bias": 0 * small["bias"]}}, x)
    np.testing.assert_allclose(network.apply(variables | {"params": small}, x), expected, rtol=1e-4)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"'frobenius'; choose among reshaped, operator"):
        spectral_norm("frobenius").conv(3, (3, 3)).init(jax.random.key(0), X)
