"""Learned dequantisation bounds the probability of levels, and uniform noise is a case of it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.scipy.stats import norm

from gm_jax.flows.coupling import Affine, Coupling
from gm_jax.flows.dequantise import Dequantise, Logit
from gm_jax.flows.mixture_cdf import MixtureCdf
from gm_jax.flows.priors import Everything
from gm_jax.flows.transform import Chain, Context
from gm_jax.flows.variational_dequantisation import VariationalDequantise
from gm_jax.networks.vector_flow import VectorNetwork
from tests.support import noise_of, randomized, zeros_like

KEY, LEVELS, DRAWS = jax.random.key(1), 5, 4096
V = np.repeat(np.arange(LEVELS, dtype=np.uint8), DRAWS)[:, None]
CONTEXT = Context(True, noise_of(jax.random.key(0), len(V)))


class Encoder(nn.Module):
    """One unit a level, so that each level may have noise of its own."""

    @nn.compact
    def __call__(self, x, context):
        del context
        level = jnp.round((x[..., 0] + 0.5) * LEVELS).astype(int)
        return jax.nn.one_hot(level, LEVELS)


def flow(kind):
    """The density of `test_dequantise.py`, of images of one dimension, behind learned noise."""
    noise = Coupling(Everything(), VectorNetwork(()), kind) if kind else Chain(())
    dequantise = VariationalDequantise(levels=LEVELS, encoder=Encoder(), noise=noise)
    return Chain((dequantise, Logit(0.05)))


@functools.cache
def truth():
    """ln P of each level: the density's mass in its interval."""
    edges = 0.05 + 0.9 * np.arange(LEVELS + 1) / LEVELS
    return np.log(np.diff(norm.cdf(np.log(edges) - np.log1p(-edges))))


def initial(kind, scale=1.0):
    init = functools.partial(flow(kind).init, method="forward_and_log_det")
    shapes = jax.eval_shape(init, jax.random.key(0), V[:1], Context(True, noise_of(KEY, 1)))
    return jax.tree.map(lambda leaf: scale * leaf, randomized(zeros_like(shapes)))


@functools.partial(jax.jit, static_argnums=0)
def bound(kind, variables, context=CONTEXT):
    """One draw of each example, [levels, draws]."""
    log_prob, _ = flow(kind).apply(variables, V, context, method="log_prob")
    return log_prob.reshape(LEVELS, DRAWS)


@pytest.mark.parametrize("kind", [Affine(1.0), MixtureCdf(2)])
def test_any_noise_bounds_the_probability_and_its_weighted_draws_have_it_as_their_mean(kind):
    """E_q[p/q] = P, with q far from uniform: its log-density is the right one."""
    log_prob = np.float64(bound(kind, initial(kind, 2.0)))
    gap = truth() - log_prob.mean(1)
    assert (gap > 0).all() and gap.max() > 0.02
    np.testing.assert_allclose(np.exp(log_prob).mean(1), np.exp(truth()), rtol=0.1)
    uniform = np.float64(bound(None, {}))
    assert (abs(gap - (truth() - uniform.mean(1))) > 1e-3).any()


def test_noise_that_no_flow_changes_is_uniform():
    x, log_det = flow(None).transforms[0].apply({}, V, CONTEXT, method="forward_and_log_det")
    same, of_uniform = Dequantise(LEVELS).forward_and_log_det(V, CONTEXT)
    np.testing.assert_allclose(x, same, atol=2.0**-16)
    np.testing.assert_allclose(log_det, of_uniform, atol=1e-4)


def test_noise_that_is_fitted_closes_most_of_the_gap():
    """q alone moves, by the bound: it becomes the model's posterior of the noise."""
    kind, optimizer = MixtureCdf(2), optax.adam(0.05)

    def update(carry, number):
        variables, state = carry
        context = Context(True, CONTEXT.noise.layer(number))
        gradient = jax.grad(lambda v: -bound(kind, v, context).mean())(variables)
        moves, state = optimizer.update(gradient, state)
        return (optax.apply_updates(variables, moves), state), None

    start = initial(kind, 0.5)
    numbers = jnp.arange(100)
    (fitted, _), _ = jax.lax.scan(update, (start, optimizer.init(start)), numbers)
    gaps = [(truth() - bound(kind, v).mean(1)).mean() for v in (start, fitted)]
    uniform = (truth() - bound(None, {}).mean(1)).mean()
    assert -0.002 < gaps[1] < 0.2 * min(uniform, gaps[0])


def test_levels_come_back_whatever_the_noise_is_moved_to():
    v = np.arange(256, dtype=np.uint8)[:, None]
    context = Context(True, noise_of(KEY, 256))
    for push in (-40.0, 40.0):
        noise = Coupling(Everything(), VectorNetwork(()), Affine(1.0))
        layer = VariationalDequantise(levels=256, encoder=Encoder(), noise=noise)
        params = layer.init(KEY, v, context, method="forward_and_log_det")
        shift = params["params"]["noise"]["network"]["Dense_0"]
        shift["bias"] = shift["bias"].at[0].set(push)
        x, log_det = layer.apply(params, v, context, method="forward_and_log_det")
        back, _ = layer.apply(params, x, context, method="inverse_and_log_det")
        np.testing.assert_array_equal(back, v)
        assert np.isfinite(log_det).all() and x.min() > 0 and x.max() < 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"draws noise: give Context\(train, noise\)"):
        flow(None).apply({}, V, Context(True), method="log_prob")
