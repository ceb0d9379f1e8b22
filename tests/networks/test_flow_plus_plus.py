"""Flow++: its log-determinant and inverse, what its networks see, and their initialisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.transform import Context
from gm_jax.networks.flow_plus_plus import Conv, CouplingNetwork, dequantiser, flow_plus_plus
from gm_jax.nn.weight_norm import data_dependent_init
from tests.support import images, jacobian_log_det, noise_of, randomized, zeros_like

KEY, SHAPE = jax.random.key(0), (4, 4, 1)
BLOCKS = {"features": 4, "num_blocks": 1, "num_heads": 2, "dropout_rate": 0.5}
COUPLINGS = {"num_checkerboard": 1, "num_channel": 1, "num_last": 1, "num_mixtures": 2}
EVALUATE = Context(False)
NOISE = noise_of(KEY, 3)
DATA = {
    SHAPE: jax.random.uniform(KEY, (3, *SHAPE), minval=0.1, maxval=0.9),
    (4,): NOISE.normal(4),
}
WIDE = CouplingNetwork(8, 1, 2, 0.5)
X = jax.random.normal(KEY, (3, 4, 2, 2))


@functools.cache
def built(shape):
    """(forward, inverse) of a flow away from its start."""
    flow = flow_plus_plus(shape, **COUPLINGS, **BLOCKS, logit_margin=0.05)
    init = functools.partial(flow.init, method="forward_and_log_det")
    variables = randomized(zeros_like(jax.eval_shape(init, KEY, DATA[shape], EVALUATE)))
    variables = jax.tree_util.tree_map_with_path(_regular, variables)
    return tuple(
        jax.jit(lambda x, method=method: flow.apply(variables, x, EVALUATE, method=method))
        for method in ("forward_and_log_det", "inverse_and_log_det")
    )


def _regular(path, leaf):
    """A 1×1 kernel away from singular ones, which are bad to invert; networks' stay."""
    is_convolution = path[-1].key == "kernel" and "network" not in [part.key for part in path]
    return leaf + np.eye(len(leaf), dtype=np.float32) if is_convolution else leaf


@pytest.mark.parametrize("shape", DATA)
def test_the_log_determinant_is_that_of_the_jacobian_and_the_inverse_inverts(shape):
    forward, inverse = built(shape)
    y, log_det = forward(DATA[shape])
    expected = jacobian_log_det(lambda x: forward(x)[0], DATA[shape][1:2])
    np.testing.assert_allclose(log_det[1], expected, rtol=1e-4, atol=1e-4)
    x, inverse_log_det = inverse(y)
    np.testing.assert_allclose(x, DATA[shape], atol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-4, atol=1e-4)


def test_the_density_of_points_has_the_mass_in_a_box_that_draws_have():
    """A fifth of the draws of these parameters lie outside: their tails are long."""
    flow = flow_plus_plus((2,), **COUPLINGS, **BLOCKS, logit_margin=0.05)
    init = functools.partial(flow.init, method="log_prob")
    variables = randomized(zeros_like(jax.eval_shape(init, KEY, X[:, 0, 0], EVALUATE)))
    variables = jax.tree_util.tree_map_with_path(_regular, variables)
    steps = np.arange(-20, 20, 0.1, np.float32) + 0.05
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    log_prob = jax.jit(lambda x: flow.apply(variables, x, EVALUATE, method="log_prob")[0])(grid)
    mass = np.exp(np.float64(log_prob)).sum() * 0.1**2
    z = jax.random.normal(KEY, (10_000, 2))
    drawn = jax.jit(lambda z: flow.apply(variables, z, EVALUATE, method="inverse_and_log_det")[0])(
        z
    )
    inside = (np.abs(drawn) < 20).all(1).mean()
    assert 0.5 < inside < 0.95
    assert abs(mass - inside) < 4 * np.sqrt(inside * (1 - inside) / len(z))


@functools.cache
def network():
    """The variables of WIDE on X with a condition."""
    context = Context(False, None, X[..., :1])
    init = lambda: WIDE.init(KEY, X, 5, context)  # noqa: E731
    return randomized(zeros_like(jax.eval_shape(init)))


def test_every_position_sees_all_others_and_the_condition():
    def at_a_corner(x, condition):
        context = Context(False, None, condition)
        return jnp.sum(WIDE.apply(network(), x, 5, context)[1, 0, 0])

    slopes = jax.jit(jax.grad(at_a_corner, (0, 1)))(X, X[..., :1])
    for slope in slopes:
        assert (slope[1] != 0).all() and (slope[0] == 0).all()


def test_dropout_belongs_to_an_example_and_to_training():
    def outputs(x, train, index):
        context = Context(train, noise_of(KEY, 3).replace(index=index), x[..., :1])
        return WIDE.apply(network(), x, 5, context, rngs={"dropout": KEY})

    index = jnp.arange(3)
    apply = jax.jit(outputs, static_argnums=1)
    trained = apply(X, True, index)
    np.testing.assert_allclose(apply(X[::-1], True, index[::-1]), trained[::-1], atol=1e-5)
    assert (trained != apply(X, False, index)).any((1, 2, 3)).all()


def test_a_convolution_starts_with_the_deviation_that_is_asked_for():
    x = 7 + 3 * jax.random.normal(KEY, (16, 4, 4, 2))
    y, variables = data_dependent_init(Conv(6, 3, 0.1), KEY, x)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 0.1, rtol=1e-4)
    np.testing.assert_allclose(Conv(6, 3, 0.1).apply(variables, x), y, atol=1e-4)


def test_learned_noise_knows_the_image_and_stays_within_its_level():
    layer = dequantiser(
        17, (-0.5, 0.5), num_couplings=2, num_mixtures=2, condition_features=3, **BLOCKS
    )
    v, context = images(2, shape=SHAPE), Context(False, noise_of(KEY, 2))
    init = functools.partial(layer.init, method="forward_and_log_det")
    variables = randomized(zeros_like(jax.eval_shape(init, KEY, v, context)))
    forward = jax.jit(functools.partial(layer.apply, variables, method="forward_and_log_det"))
    fractions = []
    for image in (v, v[::-1]):
        x, log_det = forward(image, context)
        fraction = 17 * (x + 0.5) - image
        assert fraction.min() > 0 and fraction.max() < 1 and np.isfinite(log_det).all()
        fractions.append(fraction)
    assert abs(fractions[0] - fractions[1]).max() > 0.01  # of the same ε


def test_heads_that_do_not_share_the_features_are_refused():
    blocks = BLOCKS | {"num_heads": 3}
    with pytest.raises(ValueError, match=r"4 features .* no multiple of 3 heads"):
        flow_plus_plus(SHAPE, **COUPLINGS, **blocks, logit_margin=0.05)
