"""Every bijector is inverted by its inverse, and its log-determinant is that of its Jacobian."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.bijectors.chain import Chain
from gm_jax.bijectors.channel_coupling import ChannelCoupling
from gm_jax.bijectors.checkerboard_coupling import CheckerboardCoupling
from gm_jax.bijectors.factor_out import FactorOut
from gm_jax.bijectors.flow_batch_norm import FlowBatchNorm
from gm_jax.bijectors.inverse import Inverse
from gm_jax.bijectors.logit import Logit
from gm_jax.bijectors.masks import channel_half, checkerboard
from gm_jax.bijectors.ordered_squeeze import OrderedSqueeze
from gm_jax.bijectors.squeeze import Squeeze
from tests.support import jacobian_log_det, randomized, zeros_like

X = jax.random.uniform(jax.random.key(0), (3, 4, 6, 2))
NETWORK = {"features": 3, "num_blocks": 1, "batch_norm_decay": 0.9, "batch_norm_epsilon": 1e-4}
NORM = {"decay": 0.9, "epsilon": 1e-4}
EVEN = functools.partial(checkerboard, parity=0)
SECOND = functools.partial(channel_half, half=1)
BIJECTORS = {
    "even": lambda: CheckerboardCoupling(0, **NETWORK),
    "odd": lambda: CheckerboardCoupling(1, **NETWORK),
    "first half": lambda: ChannelCoupling(0, **NETWORK),
    "second half": lambda: ChannelCoupling(1, **NETWORK),
    "norm of pixels": lambda: FlowBatchNorm(EVEN, **NORM),
    "norm of channels": lambda: FlowBatchNorm(SECOND, **NORM),
    "logit": lambda: Logit(0.05),
    "squeeze": lambda: Squeeze(),
    "ordered squeeze": lambda: OrderedSqueeze(),
    "unsqueeze": lambda: Chain((Squeeze(), FlowBatchNorm(SECOND, **NORM), Inverse(Squeeze()))),
    "factor out": lambda: FactorOut(Chain((Logit(0.05), FlowBatchNorm(EVEN, **NORM)))),
}


@functools.cache
def built(name):
    """(variables away from their start, forward, inverse)."""
    module = BIJECTORS[name]()
    init = functools.partial(module.init, x=X, train=True, method="forward_and_log_det")
    variables = randomized(zeros_like(jax.eval_shape(init, jax.random.key(1))))
    forward = jax.jit(lambda x: module.apply(variables, x, False, method="forward_and_log_det"))
    inverse = jax.jit(lambda y: module.apply(variables, y, method="inverse_and_log_det"))
    return variables, forward, inverse


@pytest.mark.parametrize("name", BIJECTORS)
def test_the_inverse_undoes_the_forward_direction(name):
    _, forward, inverse = built(name)
    y, log_det = forward(X)
    x, inverse_log_det = inverse(y)
    np.testing.assert_allclose(x, X, atol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-5, atol=1e-4)
    assert log_det.shape == (3,) and y.size == X.size and (y.ravel() != X.ravel()).any()


@pytest.mark.parametrize("name", BIJECTORS)
def test_the_log_determinant_is_that_of_the_jacobian(name):
    _, forward, _ = built(name)
    expected = jacobian_log_det(lambda x: forward(x)[0], X[1:2])
    np.testing.assert_allclose(forward(X)[1][1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "mask"), [("even", EVEN), ("second half", SECOND)])
def test_a_coupling_keeps_what_it_is_a_function_of(name, mask):
    """Changed dimensions depend on themselves by one factor each, and on every kept one's."""
    _, forward, _ = built(name)
    changed = np.broadcast_to(mask(X.shape), X.shape[1:]).astype(bool).ravel()
    jacobian = jax.jit(jax.jacfwd(lambda x: forward(x.reshape(1, *X.shape[1:]))[0].ravel()))
    matrix = np.asarray(jacobian(X[0].ravel()))
    np.testing.assert_array_equal(matrix[~changed][:, ~changed], np.eye((~changed).sum()))
    np.testing.assert_array_equal(matrix[~changed][:, changed], 0)
    own = matrix[changed][:, changed]
    np.testing.assert_array_equal(own, np.diag(np.diag(own)))
    assert (matrix[changed][:, ~changed] != 0).any()


def test_couplings_of_both_colours_or_halves_change_everything():
    for mask in (checkerboard, channel_half):
        np.testing.assert_array_equal(mask(X.shape, 0) + mask(X.shape, 1), 1)
    np.testing.assert_array_equal(checkerboard((2, 3, 1), 1)[..., 0], [[0, 1, 0], [1, 0, 1]])


def test_published_couplings_start_as_shifts_by_pixel_and_as_scales_by_channel():
    def scale(name):
        init = functools.partial(BIJECTORS[name]().init, method="forward_and_log_det")
        return jax.jit(lambda key: init(key, X, True)["params"]["scale"])(jax.random.key(0))

    assert scale("even") == 0 and scale("second half") == 1


def test_squeezed_channels_are_the_pixels_of_a_square():
    x = jnp.arange(16.0).reshape(1, 2, 4, 2)  # pixel (i, j) holds 8i + 2j and one more
    squeezed, _ = Squeeze().apply({}, x, False, method="forward_and_log_det")
    np.testing.assert_array_equal(squeezed[0, 0, 0], [0, 2, 8, 10, 1, 3, 9, 11])
    ordered, _ = OrderedSqueeze().apply({}, x, False, method="forward_and_log_det")
    np.testing.assert_array_equal(ordered[0, 0, 0], [0, 1, 10, 11, 2, 3, 8, 9])
    np.testing.assert_array_equal(ordered[0, 0, 1], ordered[0, 0, 0] + 4)


def test_what_is_factored_out_stays_in_its_place():
    y = built("factor out")[1](X)[0]
    done = np.asarray(checkerboard(X.shape, 1)[..., 0]).astype(bool)  # (0, 1) and (1, 0) of squares
    np.testing.assert_array_equal(y[:, done], X[:, done])
    assert (y[:, ~done] != X[:, ~done]).all()


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match=r"4×5 pixels cannot be squeezed.*fewer scales"):
        Squeeze().apply({}, X[:, :, :5], False, method="forward_and_log_det")
    with pytest.raises(ValueError, match=r"halve 1 channels.*checkerboard"):
        BIJECTORS["first half"]().init(
            jax.random.key(0), X[..., :1], True, method="forward_and_log_det"
        )
