"""1×1 convolutions, plain and factored: one map, one determinant, one inverse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.invertible_convolution import InvertibleConvolution, LuConvolution
from gm_jax.flows.transform import Context
from gm_jax.nn.weight_norm import num_parameters
from tests.support import jacobian_log_det, randomized

KEY, CONTEXT, CHANNELS = jax.random.key(0), Context(False), 6
X = jax.random.normal(jax.random.key(1), (3, 2, 4, CHANNELS))
KINDS = [InvertibleConvolution(), LuConvolution()]
every_kind = pytest.mark.parametrize("layer", KINDS)


@functools.cache
def start(layer):
    return layer.init(KEY, X, CONTEXT, method="forward_and_log_det")


def moved(layer):
    """Variables away from the start."""
    return randomized(start(layer))


def apply(layer, variables, x, method="forward_and_log_det"):
    return layer.apply(variables, x, CONTEXT, method=method)


def kernel(layer, variables):
    return apply(layer, variables, jnp.eye(CHANNELS))[0]


@every_kind
def test_it_starts_as_a_rotation(layer):
    w = kernel(layer, start(layer))
    np.testing.assert_allclose(w @ w.T, np.eye(CHANNELS), atol=1e-5)
    np.testing.assert_allclose(apply(layer, start(layer), X)[1], 0, atol=1e-4)
    assert np.abs(w - np.eye(CHANNELS)).max() > 0.1


@every_kind
def test_the_log_determinant_is_that_of_the_jacobian_and_the_inverse_inverts(layer):
    variables = moved(layer)
    y, log_det = apply(layer, variables, X)
    x, inverse_log_det = apply(layer, variables, y, "inverse_and_log_det")
    expected = jacobian_log_det(lambda x: apply(layer, variables, x)[0], X[:1])
    np.testing.assert_allclose(log_det, np.full(3, expected), rtol=1e-4)
    np.testing.assert_array_equal(inverse_log_det, -log_det)
    np.testing.assert_allclose(x, X, atol=1e-5)


def test_the_factored_one_is_the_plain_one_of_its_kernel():
    plain, lu = KINDS
    variables = moved(lu)
    same = {"params": {"kernel": kernel(lu, variables)}}
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        for a, b in zip(
            apply(lu, variables, X, method), apply(plain, same, X, method), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_the_factors_have_as_many_numbers_as_the_kernel_and_all_learn():
    variables = start(LuConvolution())
    assert num_parameters(variables) == num_parameters(start(KINDS[0])) == CHANNELS**2
    square = jax.grad(lambda variables: jnp.sum(apply(LuConvolution(), variables, X)[0] ** 2 * X))
    assert all((leaf != 0).all() for leaf in jax.tree.leaves(square(variables)))


@pytest.mark.parametrize("method", ["forward_and_log_det", "inverse_and_log_det"])
def test_a_singular_kernel_is_refused_where_it_is_known_and_not_finite_elsewhere(method):
    plain, w = KINDS[0], np.array(kernel(KINDS[0], start(KINDS[0])))
    w[1] = 0
    variables = {"params": {"kernel": jnp.array(w)}}
    with pytest.raises(ValueError, match=r"singular kernel, 6×6; lower optimizer.learning_rate"):
        apply(plain, variables, X, method)
    _, log_det = jax.jit(lambda variables: apply(plain, variables, X, method))(variables)
    assert not np.isfinite(log_det).any()
