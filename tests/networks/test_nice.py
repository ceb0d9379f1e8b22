"""NICE: a bijection of constant determinant, with a Gaussian or a logistic prior."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.transform import Context
from gm_jax.networks.nice import nice
from tests.support import jacobian_log_det, randomized, zeros_like

CONTEXT, SHAPE = Context(False), (3, 3, 1)
X = jax.random.normal(jax.random.key(0), (4, *SHAPE))


def built(shape, prior):
    """(variables, flow) away from the start."""
    net = nice(shape, (1, 2, 1), 6, 0.1, prior)
    init = functools.partial(net.init, method="forward_and_log_det")
    shapes = jax.eval_shape(init, jax.random.key(1), jnp.zeros((1, *shape)), CONTEXT)
    return randomized(zeros_like(shapes)), net


@pytest.mark.parametrize("prior", ["gaussian", "logistic"])
def test_it_is_inverted_and_its_log_determinant_is_that_of_the_jacobian(prior):
    variables, net = built(SHAPE, prior)
    forward = jax.jit(lambda x: net.apply(variables, x, CONTEXT, method="forward_and_log_det"))
    y, log_det = forward(X)
    x, _ = net.apply(variables, y, CONTEXT, method="inverse_and_log_det")
    np.testing.assert_allclose(x, X, atol=1e-5)
    expected = jacobian_log_det(lambda x: forward(x)[0], X[1:2])
    np.testing.assert_allclose(log_det[1], expected, rtol=1e-4)


def test_its_determinant_is_that_of_the_scales_and_every_dimension_is_changed():
    variables, net = built(SHAPE, "gaussian")
    y, log_det = net.apply(variables, X, CONTEXT, method="forward_and_log_det")
    scales = variables["params"]["transforms_4"]["log_scale"]
    np.testing.assert_allclose(log_det, np.full(4, scales.sum()), rtol=1e-5)
    assert (y.reshape(4, -1) != X.reshape(4, -1) * jnp.exp(scales)).all()


@pytest.mark.parametrize("prior", ["gaussian", "logistic"])
def test_the_density_of_points_integrates_to_one(prior):
    variables, net = built((2,), prior)
    steps = np.arange(-25, 25, 0.1, np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    density = jax.jit(lambda x: net.apply(variables, x, CONTEXT, method="log_prob")[0])(grid)
    np.testing.assert_allclose(np.exp(np.float64(density)).sum() * 0.1**2, 1, atol=1e-3)


def test_kernels_start_in_their_range_and_other_priors_are_refused():
    net = nice((6,), (1,), 50, 0.3, "gaussian")
    init = functools.partial(net.init, method="forward_and_log_det")
    kernel = init(jax.random.key(2), jnp.zeros((1, 6)), CONTEXT)["params"]["transforms_1"]
    kernel = kernel["network"]["Dense_1"]["kernel"]
    assert 0.28 < kernel.max() <= 0.3 and -0.3 <= kernel.min() < -0.28
    with pytest.raises(ValueError, match=r"prior is 'student'; choose among gaussian, logistic"):
        nice((6,), (1,), 4, 0.1, "student")
