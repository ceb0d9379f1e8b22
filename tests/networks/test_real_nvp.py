"""Real-NVP: invertible, image-shaped and with the right determinant at any number of scales."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import devices
from gm_jax.flows.coupling import ChannelHalf, Checkerboard, Coupling
from gm_jax.flows.transform import Context
from gm_jax.networks.real_nvp import initialize, magnitudes, real_nvp
from gm_jax.nn.weight_norm import num_parameters
from tests.support import jacobian_log_det, randomized, zeros_like

TRAIN, EVALUATE = Context(True), Context(False)
SHAPES = {1: (3, 5, 3), 2: (4, 6, 3), 3: (8, 4, 1)}


def network(num_scales, features=2, num_blocks=1, num_last=2, shape=None):
    return real_nvp(
        shape or SHAPES[num_scales],
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
    shapes = jax.eval_shape(functools.partial(initialize, net), jax.random.key(1), x, TRAIN)
    variables = randomized(zeros_like(shapes))
    forward = jax.jit(lambda x: net.apply(variables, x, EVALUATE, method="forward_and_log_det"))
    inverse = jax.jit(lambda y: net.apply(variables, y, EVALUATE, method="inverse_and_log_det"))
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
            built(1)[0], x, TRAIN, method="forward_and_log_det", mutable=["batch_stats"]
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
        variables = initialize(net, key, x, TRAIN)
        forward = functools.partial(net.apply, variables, x, method="forward_and_log_det")
        return forward(EVALUATE), forward(TRAIN, mutable=["batch_stats"])[0]

    (y, log_det), (same, same_log_det) = both(jax.random.key(1))
    np.testing.assert_allclose(y, same, atol=1e-4)
    np.testing.assert_allclose(log_det, same_log_det, rtol=1e-5)


@pytest.mark.parametrize(("features", "count"), [(20, 51_948), (32, 128_016)])
def test_three_couplings_of_two_blocks_have_the_published_size(features, count):
    net = network(1, features, num_blocks=2, num_last=3, shape=(8, 8, 3))
    undone = 3 * 6 * features  # biases of the authors' code that the batch norms behind them undo
    x = jnp.zeros((2, 8, 8, 3))
    variables = jax.eval_shape(functools.partial(initialize, net), jax.random.key(0), x, TRAIN)
    assert num_parameters(variables["params"]) + undone == count
    # A coupling's scale, and the gains of 2 blocks' ends, 3 skips and the outputs.
    assert num_parameters(magnitudes(variables["params"])) == 3 * (1 + 5 * features + 6)


@pytest.mark.parametrize(("split", "scale"), [(Checkerboard, 0), (ChannelHalf, 1)])
def test_couplings_start_as_shifts_by_pixel_and_as_scales_by_channel(split, scale):
    """Also, only a checkerboard's network is told which pixels are hidden."""
    couplings = [part for part in network(2).transforms if isinstance(part, Coupling)]
    chosen = [part for part in couplings if isinstance(part.split, split)]
    assert len(couplings) == 3 and {part.kind.init_scale for part in chosen} == {scale}
    assert all((part.network.hidden is part.split) == (scale == 0) for part in chosen)


def test_the_half_that_is_done_after_a_scale_is_one_diagonal_of_every_square():
    *_, last = network(2).transforms
    variables = {
        kind: tree[f"transforms_{len(network(2).transforms) - 1}"]
        for kind, tree in built(2)[0].items()
    }
    x = uniform(8, SHAPES[2])
    apply = functools.partial(last.apply, method="forward_and_log_det")
    y, _ = jax.jit(apply)(variables, x, EVALUATE)
    done = Checkerboard(1).mask(x.shape)[..., 0].astype(bool)  # (0, 1) and (1, 0) of squares
    np.testing.assert_array_equal(y[:, done], x[:, done])
    assert (y[:, ~done] != x[:, ~done]).all()


def test_the_density_integrates_to_one():
    """Over images of 1×2 pixels, in steps of p = .05 + .9x, which fills (0, 1)."""
    net = network(1, num_last=3, shape=(1, 2, 1))
    steps = (np.arange(500) + 0.5) / 500
    p = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 1, 2, 1)
    x = ((p - 0.05) / 0.9).astype(np.float32)
    shapes = jax.eval_shape(functools.partial(initialize, net), jax.random.key(1), x[:8], TRAIN)
    log_prob = jax.jit(functools.partial(net.apply, method="log_prob"))
    density = np.exp(np.float64(log_prob(randomized(zeros_like(shapes)), x, EVALUATE)[0]))
    np.testing.assert_allclose(density.mean() / 0.9**2, 1, atol=2e-3)


def test_sizes_that_the_scales_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"6×4 pixels do not fit 3 scales.*multiples of 4"):
        network(3, shape=(6, 4, 1))
