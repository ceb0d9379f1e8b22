"""Glow: a bijection with the right determinant, its published start and its view of the border."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.transform import Context
from gm_jax.networks.glow import Conv, glow
from gm_jax.nn.weight_norm import data_dependent_init
from tests.support import jacobian_log_det, randomized

SHAPE, CONTEXT = (4, 8, 1), Context(False)
X = jax.random.uniform(jax.random.key(1), (8, *SHAPE)) - 0.5


def network(coupling="affine", convolution="plain", num_steps=1):
    return glow(SHAPE, 2, num_steps, 3, coupling, convolution)


def initialised(net, x=X):
    init = functools.partial(data_dependent_init, net, method="forward_and_log_det")
    return jax.jit(init)(jax.random.key(2), x, CONTEXT)


def moved(net, x=X):
    """Variables that no longer are an initialisation, but near it, so that kernels are regular."""
    _, start = initialised(net, x)
    return jax.tree.map(lambda a, b: 0.7 * a + 0.3 * b, start, randomized(start))


@pytest.mark.parametrize(("coupling", "convolution"), [("affine", "plain"), ("additive", "lu")])
def test_it_is_inverted_and_its_log_determinant_is_that_of_the_jacobian(coupling, convolution):
    net = network(coupling, convolution)
    variables = moved(net)
    forward = jax.jit(lambda x: net.apply(variables, x, CONTEXT, method="forward_and_log_det"))
    inverse = jax.jit(lambda y: net.apply(variables, y, CONTEXT, method="inverse_and_log_det"))
    y, log_det = forward(X)
    x, inverse_log_det = inverse(y)
    assert y.shape == X.shape
    np.testing.assert_allclose(x, X, atol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-4, atol=1e-4)
    expected = jacobian_log_det(lambda x: forward(x)[0], X[3:4])
    np.testing.assert_allclose(log_det[3], expected, rtol=1e-4, atol=1e-4)


def test_it_starts_with_the_determinant_of_its_actnorms_and_constant_couplings():
    """Each affine coupling adds ½·h·w·c·ln σ(2); 1×1 convolutions and learned priors add 0."""
    net = network(num_steps=2)
    (y, log_det), variables = initialised(net)
    flat = jax.tree_util.tree_leaves_with_path(variables["params"])
    names = [([key.key for key in path], leaf) for path, leaf in flat]
    # Of the flow itself, not of the couplings' networks: 2×4 positions at first, then 1×2.
    scales = [
        (leaf, 2 if "rest" in path else 8)
        for path, leaf in names
        if path[-1] == "log_scale" and "network" not in path
    ]
    assert len(scales) == 4
    expected = sum(3 * leaf.sum() * positions for leaf, positions in scales)
    expected += 2 * (8 * 4 + 2 * 8) / 2 * np.log(1 / (1 + np.exp(-2)))
    np.testing.assert_allclose(log_det, np.full(8, expected), rtol=1e-4)
    assert 0.2 < y.std() < 2  # each coupling shrinks by σ(2), the next actnorm undoes it


def test_a_convolution_sees_the_border_as_one_more_channel():
    layer, x = Conv(5, 3), jax.random.normal(jax.random.key(3), (2, 3, 4, 2))
    variables = layer.init(jax.random.key(4), x)
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    border = np.ones((2, 5, 6, 1), np.float32)
    border[:, 1:-1, 1:-1] = 0
    expected = jax.lax.conv_general_dilated(
        jnp.concatenate([padded, border], -1),
        variables["params"]["v"],
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(layer.apply(variables, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("coupling", "convolution"), [("affine", "lu"), ("additive", "none")])
def test_the_density_of_points_integrates_to_one(coupling, convolution):
    net = glow((2,), 1, 3, 8, coupling, convolution)
    steps = np.arange(-12, 12, 0.06, np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    variables = moved(net, jax.random.normal(jax.random.key(5), (64, 2)))
    density = jax.jit(lambda x: net.apply(variables, x, CONTEXT, method="log_prob")[0])(grid)
    np.testing.assert_allclose(np.exp(np.float64(density)).sum() * 0.06**2, 1, atol=1e-3)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"28×28 pixels do not fit 3 scales.*multiples of 8"):
        glow((28, 28, 1), 3, 1, 4, "affine", "plain")
    with pytest.raises(ValueError, match=r"coupling is 'spline'; choose among affine, additive"):
        network("spline")
    with pytest.raises(ValueError, match=r"convolution is 'qr'; choose among plain, lu, none"):
        network(convolution="qr")
    with pytest.raises(ValueError, match=r"num_scales is 2, and points have 1 scale"):
        glow((2,), 2, 1, 4, "affine", "plain")
