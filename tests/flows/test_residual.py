"""Residual layers: determinants, their estimates and bounds, gradients, memory, the inverse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.residual import (
    Exact,
    Residual,
    Series,
    fixed_point,
    geometric,
    poisson,
    truncation_bound,
)
from gm_jax.flows.transform import Context
from gm_jax.networks.residual import LipschitzNetwork
from gm_jax.nn.spectral_norm import COLLECTION
from tests.support import jacobian_log_det, noise_of, randomized

SIZE, LIPSCHITZ = 6, 0.81
X = jax.random.normal(jax.random.key(0), (3, SIZE))


def orthogonal(seed):
    return jnp.linalg.qr(jax.random.normal(jax.random.key(seed), (SIZE, SIZE)))[0]


W = {"first": 0.9 * orthogonal(1), "second": 0.9 * orthogonal(2)}


def g(variables, x):
    """Contractive with the constant .81: its slope is 0.9²·cos of something, by two rotations."""
    return jnp.sin(x @ variables["first"]) @ variables["second"]


def exact(x, variables=W):
    """ln det(I + ∂g/∂x) of one example x [SIZE]."""
    return jnp.linalg.slogdet(jnp.eye(SIZE) + jax.jacfwd(lambda x: g(variables, x))(x))[1]


def mean_over_probes(terms, x, variables=W):
    """A cut series with its traces exact: the mean over v = √D·e_i, each with the same x."""
    probes = SIZE**0.5 * jnp.eye(SIZE)
    same = jnp.broadcast_to(x, (SIZE, SIZE))
    return jnp.mean(Series(terms).sum(g, variables, same, probes, jnp.array(0)))


@pytest.mark.parametrize("terms", [1, 3, 10, 60])
def test_a_cut_series_errs_by_at_most_its_bound(terms):
    errors = [abs(mean_over_probes(terms, x) - exact(x)) for x in X]
    bound = truncation_bound(LIPSCHITZ, SIZE, terms)
    assert max(errors) <= bound + 1e-5
    assert terms > 10 or max(errors) > 0.01 * bound
    powers = np.float64(LIPSCHITZ) ** np.arange(terms + 1, 400) / np.arange(terms + 1, 400)
    np.testing.assert_allclose(bound, SIZE * powers.sum(), rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize(
    ("reach", "train"), [(geometric(0.3), False), (geometric(0.3), True), (poisson(2.0), True)]
)
def test_the_mean_of_the_roulette_is_the_log_determinant(reach, train):
    """By a z-test of 256 batches, as the estimates of a training batch share N."""
    variables = {"first": 0.7 * orthogonal(1), "second": 0.7 * orthogonal(1).T}
    x = jnp.broadcast_to(0.3 * X[0], (64, SIZE))

    def estimate(key):
        return Series(2, reach)(g, variables, x, Context(train, noise_of(key, 64)))

    keys = jax.random.split(jax.random.key(3), 256)
    means = np.asarray(jax.jit(lambda: jax.lax.map(estimate, keys))()).mean(1)
    truth, deviation = exact(x[0], variables), means.std(ddof=1) / 16
    assert abs(means.mean() - truth) < 4 * deviation
    assert abs(mean_over_probes(2, x[0], variables) - truth) > 8 * deviation  # it is not blind


@pytest.mark.parametrize("reach", [geometric(0.5), poisson(2.0)])
def test_a_roulette_reaches_its_terms_with_their_probability(reach):
    count = 200_000
    numbers = Series(1, reach).number(jax.random.uniform(jax.random.key(4), (count, 2)))
    for k in (1, 2, 5, 8):
        probability = reach[k - 1]
        deviation = (probability * (1 - probability) / count) ** 0.5
        assert abs(np.mean(numbers >= k) - probability) < 4 * deviation
    assert int(Series(1, reach).number(jnp.zeros(2))) == len(reach)
    assert reach[-1] < 1e-11
    np.testing.assert_allclose([poisson(2.0)[0], geometric(0.5)[2]], [1 - np.exp(-2), 0.125])


def test_a_batch_shares_the_number_of_terms_in_training_and_no_further():
    """With x = 0 and g = a·x, the value shows N: Σ (−1)^(k+1) a^k vᵀv w_k/k of each example."""

    def linear(a, x):
        return a * x

    @functools.partial(jax.jit, static_argnums=0)
    def value(train, index):
        noise = noise_of(jax.random.key(5), 32)
        context = Context(train, noise.replace(index=jnp.array(noise.index)[index]))
        x = jnp.zeros((len(index), 1))
        probe = context.noise.split()[0].normal(1)[:, 0]
        return Series(1, geometric(0.3))(linear, jnp.array(0.5), x, context) / probe**2

    whole = value(True, np.arange(32))
    np.testing.assert_allclose(whole, whole[0], rtol=1e-4)
    own = value(False, np.arange(32))
    assert len(np.unique(np.round(own, 3))) > 4
    np.testing.assert_allclose(value(False, np.arange(9, 13)), own[9:13], rtol=1e-5)
    np.testing.assert_allclose(value(True, np.arange(9, 13)), whole[9:13], rtol=1e-5)


@pytest.mark.parametrize("terms", [1, 2, 5])
def test_the_gradient_is_that_of_the_cut_series(terms):
    """With respect to x and to the weights: traces of powers of the Jacobian, by autodiff."""

    def powers(x, variables):
        jacobian = jax.jacfwd(lambda x: g(variables, x))(x)
        power, total = jnp.eye(SIZE), 0.0
        for k in range(1, terms + 1):
            power = power @ jacobian
            total += (-1) ** (k + 1) * jnp.trace(power) / k
        return total

    found = jax.grad(functools.partial(mean_over_probes, terms), (0, 1))(X[0], W)
    expected = jax.grad(powers, (0, 1))(X[0], W)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, expected)
    np.testing.assert_allclose(mean_over_probes(terms, X[0]), powers(X[0], W), rtol=1e-5)
    assert all(abs(leaf).max() > 1e-2 for leaf in jax.tree.leaves(expected))


def test_the_gradient_of_a_long_series_is_that_of_the_determinant():
    found = jax.grad(functools.partial(mean_over_probes, 80), (0, 1))(X[1], W)
    expected = jax.grad(exact, (0, 1))(X[1], W)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)


def test_memory_does_not_grow_with_the_number_of_terms():
    """Of the compiled gradient; it does grow where one differentiates through the series."""
    x = jnp.ones((64, SIZE))

    def through_the_series(w, terms):
        _, product = jax.linearize(functools.partial(g, w), x)
        power, total = x, 0.0
        for k in range(1, terms + 1):
            power = product(power)
            total += (-1) ** (k + 1) * jnp.sum(x * power) / k
        return total

    def flat(w, terms):
        return jnp.sum(Series(terms).sum(g, w, x, x, jnp.array(0)))

    def bytes_of(function, terms):
        compiled = jax.jit(jax.grad(functools.partial(function, terms=terms))).lower(W).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert bytes_of(flat, 40) <= bytes_of(flat, 4) + 40 * 4  # a weight for each term
    assert bytes_of(through_the_series, 40) > 3 * bytes_of(through_the_series, 4)


@functools.cache
def layer(shape):
    """(layer, its variables with σ at its limit, x)."""
    x = jax.random.normal(jax.random.key(6), (4, *shape))
    network = LipschitzNetwork((8, 8), activation="lip_swish", limit=0.9, activate_first=False)
    module = Residual(network, 3, Series(5), Exact(), tolerance=1e-4)
    init = functools.partial(module.init, method="forward_and_log_det")
    variables = jax.jit(init)(jax.random.key(7), x, Context(False))
    moved = randomized({"params": variables["params"]})
    return module, settled(module, {**variables, **moved}, x), x


def settled(module, variables, x, count=40):
    """The variables after enough iterations of their singular vectors."""

    @jax.jit
    def iterate(variables):
        context = Context(True, noise_of(jax.random.key(8), len(x)))
        _, moved = module.apply(
            variables, x, context, mutable=[COLLECTION], method="forward_and_log_det"
        )
        return {**variables, **moved}

    for _ in range(count):
        variables = iterate(variables)
    return variables


def apply(module, variables, x, method="forward_and_log_det"):
    function = functools.partial(module.apply, method=method)
    return jax.jit(function)(variables, x, Context(False, noise_of(jax.random.key(9), len(x))))


SHAPES = pytest.mark.parametrize("shape", [(5,), (3, 4, 2)])


@SHAPES
def test_the_log_determinant_is_that_of_the_jacobian(shape):
    module, variables, x = layer(shape)
    expected = jacobian_log_det(lambda x: apply(module, variables, x)[0], x[1:2])
    _, log_det = apply(module, variables, x)
    np.testing.assert_allclose(log_det[1], expected, rtol=1e-4, atol=1e-5)
    assert abs(expected) > 0.02 and log_det.shape == (4,)


@SHAPES
@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-4])
def test_the_inverse_errs_by_at_most_its_tolerance(shape, tolerance):
    module, variables, x = layer(shape)
    module = module.clone(tolerance=tolerance)
    y, log_det = apply(module, variables, x)
    back, inverse_log_det = apply(module, variables, y, "inverse_and_log_det")
    error = jnp.linalg.norm((back - x).reshape(4, -1), axis=1)
    assert 0 < error.max() <= tolerance
    assert tolerance > 1e-3 or abs(inverse_log_det + log_det).max() < 1e-3
    alone, _ = apply(module, variables, y[2:3], "inverse_and_log_det")
    np.testing.assert_allclose(alone[0], back[2], atol=1e-6)


def test_a_fixed_point_of_a_linear_map_is_as_near_as_banach_says():
    """‖x_n − x*‖ = c/(1 − c)·‖x_n − x_(n−1)‖ for g = −c·x, where the bound is sharp."""
    y, c, tolerance = jnp.array([[1.0], [20.0]]), 0.9, 1e-3
    x = fixed_point(lambda x: y + c * x, y, tolerance * (1 - c) / c)
    error = abs(x - y / (1 - c))[:, 0]
    assert (error <= 1.05 * tolerance).all() and (error > c * 0.9 * tolerance).all()


@SHAPES
def test_no_two_inputs_move_apart_faster_than_the_limit(shape):
    """Pairs that ascent on their slope finds, after training that stretches the space."""
    module, variables, x = layer(shape)

    def loss(params, rest):
        context = Context(True, noise_of(jax.random.key(10), 4))
        (y, log_det), moved = module.apply(
            {"params": params, **rest},
            x,
            context,
            mutable=[COLLECTION],
            method="forward_and_log_det",
        )
        return -jnp.mean(log_det) - jnp.mean((y - x) ** 2), moved

    @jax.jit
    def train(params, rest):
        slopes, rest = jax.grad(loss, has_aux=True)(params, rest)
        return jax.tree.map(lambda p, s: p - 0.05 * s, params, slopes), rest

    params, rest = variables["params"], {COLLECTION: variables[COLLECTION]}
    for _ in range(100):
        params, rest = train(params, rest)
    variables = {"params": params, **rest}

    def slope(pair):
        a, b = pair
        y, _ = module.apply(
            variables, jnp.concatenate(pair), Context(False), method="forward_and_log_det"
        )
        apart = y - jnp.concatenate(pair)
        return jnp.linalg.norm((apart[0] - apart[1]).ravel()) / jnp.linalg.norm((a - b).ravel())

    ascend = jax.jit(lambda pair: pair + 0.3 * jax.grad(slope)(pair))
    pair = jax.random.normal(jax.random.key(11), (2, 1, *shape))
    for _ in range(200):
        pair = ascend(pair)
    assert 0.3 < slope(pair) <= module.network.lipschitz * 1.001 < 0.73


def test_singular_vectors_move_in_training_and_both_results_use_them():
    module, _, x = layer((5,))
    init = functools.partial(module.init, method="forward_and_log_det")
    start = jax.jit(init)(jax.random.key(12), x, Context(False))
    start = {**start, **randomized({"params": start["params"]})}
    context = Context(True, noise_of(jax.random.key(13), 4))
    found, moved = module.apply(
        start, x, context, mutable=[COLLECTION], method="forward_and_log_det"
    )
    again = module.apply({**start, **moved}, x, context, method="forward_and_log_det")
    before = module.apply(start, x, context, method="forward_and_log_det")
    for ours, same, old in zip(found, again, before, strict=True):
        np.testing.assert_allclose(ours, same, rtol=1e-5, atol=1e-6)
        assert abs(ours - old).max() > 1e-4


def test_a_series_without_noise_is_refused():
    with pytest.raises(ValueError, match=r"draws noise: give Context\(train, noise\)"):
        Series(2)(g, W, X, Context(True))
