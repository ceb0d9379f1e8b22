"""i-ResNet and Residual Flow: bijections of images and points, contractive at every block."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.transform import Context
from gm_jax.networks.residual import LipSwish, i_resnet, residual_flow
from gm_jax.nn.weight_norm import data_dependent_init
from tests.support import jacobian_log_det, noise_of, randomized

SHARED = {"features": 6, "num_blocks": 1, "limit": 0.9, "tolerance": 1e-5}
FLOWS = {
    "i_resnet": functools.partial(i_resnet, activation="elu", **SHARED),
    "residual": functools.partial(
        residual_flow,
        activation="lip_swish",
        num_dense_blocks=1,
        dense_features=5,
        logit_margin=None,
        **SHARED,
    ),
}
EXACT = {"num_terms": 0, "roulette": "none", "evaluation_terms": 0}
every_flow = pytest.mark.parametrize("name", FLOWS)


def built(name, shape, num_scales, **terms):
    """(flow, its variables away from the start, x)."""
    net = FLOWS[name](shape, num_scales, **(EXACT | terms))
    x = jax.random.normal(jax.random.key(0), (16, *shape))
    init = functools.partial(data_dependent_init, net, method="forward_and_log_det")
    context = Context(True, noise_of(jax.random.key(1), 16))
    _, start = jax.jit(init)(jax.random.key(2), x, context)
    params = {"params": start["params"]}
    near = jax.tree.map(lambda a, b: 0.5 * a + 0.5 * b, params, randomized(params))
    _, moved = jax.jit(
        functools.partial(net.apply, method="forward_and_log_det", mutable=["spectral_norm"])
    )(start | near, x, context)
    return net, start | near | moved, x


def evaluated(net, variables, x, method="forward_and_log_det", seed=3):
    context = Context(False, noise_of(jax.random.key(seed), len(x)))
    return jax.jit(functools.partial(net.apply, method=method))(variables, x, context)


@every_flow
def test_it_is_inverted_and_its_log_determinant_is_that_of_the_jacobian(name):
    net, variables, x = built(name, (4, 4, 1), 2)
    y, log_det = evaluated(net, variables, x)
    back, _ = evaluated(net, variables, y, "inverse_and_log_det")
    expected = jacobian_log_det(lambda x: evaluated(net, variables, x)[0], x[1:2])
    np.testing.assert_allclose(log_det[1], expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(back, x, atol=1e-3)
    assert y.shape == x.shape and net.likelihood == "exact"


@every_flow
def test_the_estimate_of_the_log_determinant_is_unbiased(name):
    """By a z-test of 2,000 estimates for one image, against the exact one of the same flow."""
    net, variables, x = built(name, (4, 4, 1), 2)
    _, exact = evaluated(net, variables, x[:1])
    estimated = FLOWS[name]((4, 4, 1), 2, num_terms=2, roulette="poisson", evaluation_terms=2)
    many = jnp.broadcast_to(x[0], (2_000, 4, 4, 1))
    _, estimates = evaluated(estimated, variables, many)
    error, deviation = estimates.mean() - exact[0], estimates.std() / 2_000**0.5
    assert abs(error) < 4 * deviation < 0.3
    assert estimated.likelihood == "estimate" and len(np.unique(estimates)) > 1_900


@every_flow
def test_the_density_of_points_integrates_to_one(name):
    net, variables, _ = built(name, (2,), 1)
    steps = np.arange(-15, 15, 0.08, np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    log_prob, _ = evaluated(net, variables, grid, "log_prob")
    np.testing.assert_allclose(np.exp(np.float64(log_prob)).sum() * 0.08**2, 1, atol=1e-3)


def test_the_slope_of_lip_swish_is_at_most_one_and_nearly_reaches_it():
    x = jnp.linspace(-100, 100, 40_001)
    for beta in (-3.0, 0.5, 4.0):
        variables = {"params": {"beta": jnp.array(beta)}}
        slopes = jax.vmap(jax.grad(lambda x, v=variables: LipSwish().apply(v, x)))(x)
        assert 0.99 < abs(slopes).max() <= 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"6×4 pixels do not fit 2 scales.*multiples of 4"):
        FLOWS["i_resnet"]((6, 4, 1), 2, **EXACT)
    with pytest.raises(ValueError, match=r"5×4 pixels do not fit 2 scales.*multiples of 2"):
        FLOWS["residual"]((5, 4, 1), 2, **EXACT)
    with pytest.raises(ValueError, match=r"num_scales is 2, and points have 1 scale"):
        FLOWS["residual"]((2,), 2, **EXACT)
    with pytest.raises(ValueError, match=r"roulette is 'russian'; choose among none, geometric"):
        FLOWS["residual"]((2,), 1, **(EXACT | {"roulette": "russian"}))
    with pytest.raises(ValueError, match=r"activation is 'relu'; choose among elu, lip_swish"):
        FLOWS["i_resnet"]((2,), 1, **EXACT, activation="relu")
