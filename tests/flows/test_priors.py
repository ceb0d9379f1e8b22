"""Priors as last layers: the whole flow is a bijection onto N(0, I) with the priors' densities."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.distributions import gaussian_log_prob
from gm_jax.flows.coupling import ChannelHalf, Coupling
from gm_jax.flows.priors import Everything, LogisticPrior, Standardise
from gm_jax.flows.reshape import FactorOut
from gm_jax.flows.transform import Chain, Context
from gm_jax.networks.glow import ZeroConv
from tests.support import randomized, zeros_like

CONTEXT = Context(False)
# z₂ ~ N(µ(z₁), σ(z₁)²) leaves, and z₁ ~ N(µ, σ²) has a prior of its own; they are images of 1×1.
FLOW = Chain(
    (
        Coupling(ChannelHalf(1), ZeroConv(), Standardise()),
        FactorOut(ChannelHalf(1), Coupling(Everything(), ZeroConv(), Standardise())),
    )
)


def log_prob(flow, variables, x):
    return flow.apply(variables, x, CONTEXT, method="log_prob")[0]


@functools.cache
def variables():
    init = functools.partial(FLOW.init, method="forward_and_log_det")
    shapes = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 1, 1, 2)), CONTEXT)
    return randomized(zeros_like(shapes))


def test_the_density_is_the_product_of_the_priors():
    x = jax.random.normal(jax.random.key(1), (64, 1, 1, 2))
    z1, z2 = jnp.split(x, 2, -1)
    params = variables()["params"]
    of_split, of_rest = params["transforms_0"]["network"], params["transforms_1"]["rest"]["network"]
    given = ZeroConv().apply({"params": of_split}, z1, 2, CONTEXT)
    alone = ZeroConv().apply({"params": of_rest}, z1[..., :0], 2, CONTEXT)
    assert given.std(0).min() > 0.01 and (alone == alone[:1]).all()  # z₁ decides the first alone
    expected = gaussian_log_prob(z2, *jnp.split(given, 2, -1))
    expected += gaussian_log_prob(z1, *jnp.split(alone, 2, -1))
    np.testing.assert_allclose(
        log_prob(FLOW, variables(), x), expected.sum((1, 2, 3)), rtol=1e-4, atol=1e-5
    )


def test_it_integrates_to_one_and_its_samples_are_those_of_the_normal_features():
    steps = np.arange(-25, 25, 0.1, np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 1, 1, 2)
    density = np.exp(np.float64(jax.jit(log_prob, static_argnums=0)(FLOW, variables(), grid)))
    np.testing.assert_allclose(density.sum() * 0.1**2, 1, atol=1e-3)
    z = jax.random.normal(jax.random.key(2), (64, 1, 1, 2))
    x, _ = FLOW.apply(variables(), z, CONTEXT, method="inverse_and_log_det")
    back, _ = FLOW.apply(variables(), x, CONTEXT, method="forward_and_log_det")
    np.testing.assert_allclose(back, z, atol=1e-5)


def test_the_logistic_prior_has_the_logistic_density_and_slope_also_far_out():
    x = np.array([-200.0, -30.0, -5.0, -0.1, 0.0, 0.3, 12.0, 90.0], np.float32)[:, None]
    density = functools.partial(log_prob, LogisticPrior(), {})
    slopes = jax.jit(jax.grad(lambda x: jnp.sum(density(x))))(x)
    exact = np.float64(x)
    np.testing.assert_allclose(
        density(x), (-np.abs(exact) - 2 * np.log1p(np.exp(-np.abs(exact))))[:, 0], rtol=1e-5
    )
    np.testing.assert_allclose(slopes, -np.tanh(exact / 2), atol=1e-4)
