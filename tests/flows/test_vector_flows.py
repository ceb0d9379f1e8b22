"""Planar, radial, autoregressive and coupling flows of vectors, with and without a condition."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.bisection import increasing_root
from gm_jax.flows.transform import Context, Inverse
from gm_jax.networks.vector_flow import LAYERS, NETWORKS, vector_flow
from tests.support import jacobian_log_det, noise_of, randomized, zeros_like

KINDS = [*LAYERS, *NETWORKS]
every_kind = pytest.mark.parametrize("kind", KINDS)
CASES = pytest.mark.parametrize(("kind", "conditional"), [*itertools.product(KINDS, (False, True))])
NOISE = noise_of(jax.random.key(0), 5)
X, CONDITION = NOISE.split()[0].normal(4), NOISE.split()[1].normal(3)


def flow_of(kind, length=3):
    return vector_flow(kind, length, (6, 5))


def made(flow, x=X, condition=None, scale=1.0):
    """Variables away from the identity, at which the layers start; nothing is compiled."""
    init = functools.partial(flow.init, method="forward_and_log_det")
    shapes = jax.eval_shape(init, jax.random.key(1), x, Context(True, None, condition))
    return jax.tree.map(lambda leaf: scale * leaf, randomized(zeros_like(shapes)))


@functools.cache
def built(kind, conditional):
    """(forward, inverse): jitted maps of x and, if conditional, a condition."""
    flow, given = flow_of(kind), CONDITION if conditional else None
    variables = made(flow, X, given, 5.0 if kind in LAYERS else 2.0)

    def apply(x, condition=given, method="forward_and_log_det"):
        return flow.apply(variables, x, Context(False, None, condition), method=method)

    return jax.jit(apply), jax.jit(functools.partial(apply, method="inverse_and_log_det"))


@CASES
def test_the_log_determinant_is_that_of_the_jacobian(kind, conditional):
    forward, _ = built(kind, conditional)
    condition = CONDITION[1:2] if conditional else None
    expected = jacobian_log_det(lambda x: forward(x, condition)[0], X[1:2])
    np.testing.assert_allclose(forward(X)[1][1], expected, rtol=1e-4, atol=1e-4)
    assert forward(X)[1].shape == (5,) and abs(forward(X)[1]).max() > 0.05


@CASES
def test_the_inverse_undoes_the_forward_direction(kind, conditional):
    forward, inverse = built(kind, conditional)
    y, log_det = forward(X)
    x, inverse_log_det = inverse(y)
    np.testing.assert_allclose(x, X, atol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-5, atol=1e-4)
    assert (abs(y - X) > 0.01).any(0).all()
    np.testing.assert_allclose(forward(inverse(3 * X)[0])[0], 3 * X, atol=1e-4)


@every_kind
def test_each_example_has_the_parameters_of_its_own_condition(kind):
    forward, _ = built(kind, True)
    moved = CONDITION.at[2].add(1.0)
    changed = (forward(X, moved)[0] != forward(X, CONDITION)[0]).any(1)
    np.testing.assert_array_equal(changed, np.arange(5) == 2)


@every_kind
def test_a_flow_starts_as_the_identity_whatever_the_condition(kind):
    flow = flow_of(kind)
    start = jax.jit(functools.partial(flow.init, method="forward_and_log_det"))
    context = Context(True, None, CONDITION)
    variables = start(jax.random.key(2), X, context)
    y, log_det = flow.apply(variables, X, context, method="forward_and_log_det")
    np.testing.assert_allclose(y, X, atol=1e-6)
    np.testing.assert_allclose(log_det, 0, atol=1e-6)


@every_kind
def test_densities_in_the_plane_integrate_to_one(kind):
    """That of what a flow makes of N(0, I): its inverse leads back to the normal."""
    flow, width = flow_of(kind, 2), 0.05
    steps = np.arange(-12, 12, width, np.float32)
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    params = made(flow, points[:3], scale=3.0 if kind in LAYERS else 1.0)["params"]
    log_prob = jax.jit(functools.partial(Inverse(flow).apply, method="log_prob"))
    total, _ = log_prob({"params": {"transform": params}}, points, Context(False))
    np.testing.assert_allclose(np.exp(np.float64(total)).sum() * width**2, 1, atol=1e-3)


def test_a_step_of_an_autoregressive_flow_has_a_triangular_jacobian():
    """The second step takes the dimensions from the last to the first."""
    for length, triangle in ((1, np.tril), (2, np.triu)):
        step = flow_of("iaf", length).transforms[-1]
        variables = made(step)

        def one(x, step=step, variables=variables):
            context = Context(False)
            return step.apply(variables, x[None], context, method="forward_and_log_det")[0][0]

        jacobian = np.asarray(jax.jacfwd(one)(X[0]))
        np.testing.assert_array_equal(jacobian, triangle(jacobian))
        assert (jacobian[triangle(np.ones((4, 4))) == 1] != 0).all()


def test_the_root_is_found_and_differentiated():
    """a³ + a = t at a = 2 has the slope da/dt = 1/(3a² + 1)."""

    def root(t):
        return increasing_root(lambda a: a**3 + a - t, t, abs(t))

    target = jnp.array([10.0, -2.0, 0.0])
    np.testing.assert_allclose(jax.jit(root)(target), [2, -1, 0], atol=1e-6)
    slopes = jax.jit(jax.grad(lambda t: jnp.sum(root(t))))(target)
    np.testing.assert_allclose(slopes, [1 / 13, 1 / 4, 1], rtol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_the_inverse_has_the_gradient_of_its_density(kind):
    """By finite differences of ln p in one of the parameters."""
    flow = Inverse(flow_of(kind, 1))
    params = {"transform": made(flow_of(kind, 1))["params"]}

    @jax.jit
    def density(shift):
        moved = jax.tree.map(lambda leaf: leaf + shift, params)
        return flow.apply({"params": moved}, X, Context(False), method="log_prob")[0].sum()

    by_difference = (density(0.01) - density(-0.01)) / 0.02
    np.testing.assert_allclose(jax.grad(density)(0.0), by_difference, rtol=2e-2)


@pytest.mark.parametrize("kind", LAYERS)
def test_extreme_parameters_keep_a_flow_finite(kind):
    """w = 0, and directions along which points collapse as far as float32 goes."""
    flow, x = flow_of(kind, 1), jnp.concatenate([X, jnp.zeros_like(X[:1])])

    @jax.jit
    def total(variables):
        outcome = flow.apply(variables, x, Context(False), method="forward_and_log_det")
        return sum(map(jnp.sum, outcome))

    for scale in (0.0, 30.0):
        value, gradient = jax.value_and_grad(total)(made(flow, scale=scale))
        assert np.isfinite([value, *map(jnp.sum, jax.tree.leaves(gradient))]).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'plane'; choose among planar, radial, iaf, real_nvp"):
        vector_flow("plane", 1)
    with pytest.raises(ValueError, match="'iaf' has a network a layer: give the widths"):
        vector_flow("iaf", 1)
