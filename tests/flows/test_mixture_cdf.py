"""The mixture CDF: its slope, its density, its tails, its bracket and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logit

from gm_jax.flows.bisection import increasing_root
from gm_jax.flows.coupling import ChannelHalf, Coupling
from gm_jax.flows.mixture_cdf import MixtureCdf
from gm_jax.flows.transform import Chain, Context
from gm_jax.networks.vector_flow import VectorNetwork
from tests.support import randomized, zeros_like

KEY, KIND = jax.random.key(0), MixtureCdf(3)
FORWARD, INVERSE = jax.jit(KIND.forward), jax.jit(KIND.inverse)
X = 2 * jax.random.normal(KEY, (64, 4))
PARAMETERS = jax.random.normal(jax.random.key(1), (64, 4 * KIND.num_parameters))


def apart(parameters):
    """t, s, π, µ and s_k in float64."""
    each = np.float64(parameters).reshape(-1, KIND.num_parameters, 4)
    logits, means, log_scales = np.split(each[:, 2:], 3, 1)
    weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return each[:, 0], np.tanh(each[:, 1]), weights, means, np.exp(log_scales)


def test_it_is_the_logit_of_the_mixtures_cdf_then_a_scale_and_a_shift():
    shift, log_scale, weights, means, scales = apart(PARAMETERS)
    cdf = (weights * expit((np.float64(X)[:, None] - means) / scales)).sum(1)
    y, _ = FORWARD(X, PARAMETERS)
    np.testing.assert_allclose(y, logit(cdf) * np.exp(log_scale) + shift, rtol=1e-4, atol=1e-4)


def test_the_log_slope_is_that_of_autodiff_in_both_directions():
    (y, log_slope), parameters = FORWARD(X, PARAMETERS), PARAMETERS
    for change, at, found in ((FORWARD, X, log_slope), (INVERSE, y, -log_slope)):
        slope = jax.jit(jax.grad(lambda x, change=change: jnp.sum(change(x, parameters)[0])))(at)
        np.testing.assert_allclose(np.log(slope), found, atol=2e-4)
        np.testing.assert_allclose(change(at, parameters)[1], found, atol=2e-4)


def test_the_inverse_inverts_and_the_bracket_holds_the_root():
    y, _ = FORWARD(X, PARAMETERS)
    np.testing.assert_allclose(INVERSE(y, PARAMETERS)[0], X, atol=1e-5)
    shift, log_scale, _, means, scales = apart(PARAMETERS)
    ends = means + scales * ((np.float64(y) - shift) / np.exp(log_scale))[:, None]
    assert (ends.min(1) <= X + 1e-4).all() and (ends.max(1) >= X - 1e-4).all()


@pytest.mark.parametrize("halvings", [1, 4, 12])
def test_bisection_is_off_by_no_more_than_its_bound(halvings):
    """And by more than a hundredth of it somewhere: the bound is no idle one."""
    root = jnp.linspace(-2.9, 2.9, 101)
    found = increasing_root(
        lambda a: jnp.sinh(a - root), jnp.zeros(101), jnp.full(101, 3.0), halvings
    )
    error, bound = abs(found - root), 3 / 2**halvings
    assert (error <= bound + 1e-6).all() and error.max() > bound / 100


def test_far_tails_are_straight_lines_and_come_back():
    """exp(ln F) is 1 there: one logistic at µ = .5 with s = e^-2, and s = 0 = t."""
    one, x = MixtureCdf(1), jnp.array([[-40.0], [40.0], [3.0]])
    parameters = jnp.broadcast_to(jnp.array([0.0, 0.0, 1.0, 0.5, -2.0]), (3, 5))
    y, log_slope = jax.jit(one.forward)(x, parameters)
    np.testing.assert_allclose(y, (x - 0.5) * np.exp(2), rtol=1e-5)
    np.testing.assert_allclose(log_slope, 2.0, rtol=1e-4)
    np.testing.assert_allclose(jax.jit(one.inverse)(y, parameters)[0], x, rtol=1e-5)


def test_scales_stay_above_their_least():
    small = PARAMETERS.at[:, 8 * 4 :].set(-30.0)
    np.testing.assert_array_equal(FORWARD(X, small), FORWARD(X, small.at[:, 32:].set(-7)))


def test_densities_in_the_plane_integrate_to_one():
    flow = Chain([Coupling(ChannelHalf(half), VectorNetwork((8,)), KIND) for half in (1, 0)])
    context, width, steps = Context(False), 0.05, np.arange(-15, 15, 0.05, np.float32)
    start = jax.eval_shape(lambda: flow.init(KEY, X[:, :2], context, method="log_prob"))
    variables = randomized(zeros_like(start))
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    log_prob = jax.jit(lambda x: flow.apply(variables, x, context, method="log_prob")[0])
    density = np.exp(np.float64(log_prob(points)))
    np.testing.assert_allclose(density.sum() * width**2, 1, atol=1e-3)
