"""Real-NVP: invertible, image-shaped and with the right determinant at any number of scales."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import devices
from gm_jax.networks.real_nvp import RealNVP, initialize, magnitudes
from gm_jax.nn.weight_norm import num_parameters
from tests.support import jacobian_log_det, randomized, zeros_like

SHAPES = {1: (3, 5, 3), 2: (4, 6, 3), 3: (8, 4, 1)}


def network(num_scales, features=2, num_blocks=1, num_last=2):
    return RealNVP(
        num_scales,
        num_blocks,
        features,
        num_checkerboard=1,
        num_channel=2,
        num_last=num_last,
        batch_norm_decay=0.9,
        batch_norm_epsilon=1e-4,
        logit_margin=0.05,
    )


def uniform(count, shape, seed=0):
    return jax.random.uniform(jax.random.key(seed), (count, *shape))


@functools.cache
def built(num_scales):
    """(variables away from their start, forward, inverse), the latter compiled."""
    net, x = network(num_scales), uniform(8, SHAPES[num_scales])
    shapes = jax.eval_shape(functools.partial(initialize, net), jax.random.key(1), x)
    variables = randomized(zeros_like(shapes))
    forward = jax.jit(lambda x: net.apply(variables, x, False, method="forward_and_log_det"))
    inverse = jax.jit(lambda y: net.apply(variables, y, method="inverse_and_log_det"))
    return variables, forward, inverse


@pytest.mark.parametrize("num_scales", SHAPES)
def test_the_inverse_undoes_the_forward_direction_and_keeps_the_shape(num_scales):
    _, forward, inverse = built(num_scales)
    x = uniform(8, SHAPES[num_scales], seed=2)
    y, log_det = forward(x)
    back, inverse_log_det = inverse(y)
    assert y.shape == x.shape and log_det.shape == (8,)
    np.testing.assert_allclose(back, x, atol=1e-4)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("num_scales", SHAPES)
def test_the_log_determinant_is_that_of_the_jacobian(num_scales):
    _, forward, _ = built(num_scales)
    x = uniform(8, SHAPES[num_scales], seed=3)
    expected = jacobian_log_det(lambda x: forward(x)[0], x[2:3])
    np.testing.assert_allclose(forward(x)[1][2], expected, rtol=1e-4, atol=1e-3)


def test_training_takes_the_statistics_of_the_global_batch():
    net, x = network(1), uniform(16, SHAPES[1], seed=4)

    def forward(x):
        return net.apply(
            built(1)[0], x, True, method="forward_and_log_det", mutable=["batch_stats"]
        )

    (y, log_det), alone = jax.jit(forward)(x)
    split = jax.pmap(forward, devices.AXIS)
    (same_y, same_log_det), together = split(x.reshape(8, 2, *SHAPES[1]))
    np.testing.assert_allclose(same_y.reshape(y.shape), y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(same_log_det.ravel(), log_det, rtol=1e-5)
    for device in (0, 7):
        one = jax.tree.map(lambda leaf, device=device: leaf[device], together)
        chex.assert_trees_all_close(one, alone, rtol=1e-4, atol=1e-5)


def test_it_starts_with_the_statistics_of_its_batch():
    """Then training and evaluation agree on that batch."""
    net, x = network(1), uniform(16, SHAPES[1])

    @jax.jit
    def both(key):
        variables = initialize(net, key, x)
        forward = functools.partial(net.apply, variables, x, method="forward_and_log_det")
        return forward(False), forward(True, mutable=["batch_stats"])[0]

    (y, log_det), (same, same_log_det) = both(jax.random.key(1))
    np.testing.assert_allclose(y, same, atol=1e-4)
    np.testing.assert_allclose(log_det, same_log_det, rtol=1e-5)


@pytest.mark.parametrize(("features", "count"), [(20, 51_948), (32, 128_016)])
def test_three_couplings_of_two_blocks_have_the_published_size(features, count):
    net = network(1, features, num_blocks=2, num_last=3)
    undone = 3 * 6 * features  # biases of the authors' code that the batch norms behind them undo
    x = jnp.zeros((2, 8, 8, 3))
    variables = jax.eval_shape(functools.partial(initialize, net), jax.random.key(0), x)
    assert num_parameters(variables["params"]) + undone == count
    # A coupling's scale, and the gains of 2 blocks' ends, 3 skips and the outputs.
    assert num_parameters(magnitudes(variables["params"])) == 3 * (1 + 5 * features + 6)


def test_sizes_that_the_scales_do_not_divide_are_refused():
    for method in ("forward_and_log_det", "inverse_and_log_det"):
        args = (jnp.zeros((1, 6, 4, 1)), *([False] if method.startswith("f") else []))
        with pytest.raises(ValueError, match=r"6×4 pixels do not fit 3 scales.*multiples of 4"):
            network(3).init(jax.random.key(0), *args, method=method)
