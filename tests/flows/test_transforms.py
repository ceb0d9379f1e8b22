"""Every transform is inverted by its inverse, and its log-determinant is that of its Jacobian."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.distributions import gaussian_log_prob
from gm_jax.flows.actnorm import ActNorm, Rescale
from gm_jax.flows.coupling import (
    Additive,
    Affine,
    ChannelHalf,
    Checkerboard,
    Columns,
    Coupling,
    EvenOdd,
    SigmoidAffine,
)
from gm_jax.flows.dequantise import Dequantise, Logit
from gm_jax.flows.invertible_convolution import InvertibleConvolution
from gm_jax.flows.mixture_cdf import MixtureCdf
from gm_jax.flows.normalise import FlowBatchNorm
from gm_jax.flows.priors import Everything, LogisticPrior, Standardise
from gm_jax.flows.reshape import FactorOut, Flatten, OrderedSqueeze, Squeeze
from gm_jax.flows.transform import Chain, Context, Inverse, Transform
from gm_jax.networks.glow import ZeroConv
from tests.support import jacobian_log_det, noise_of, randomized, zeros_like

X = jax.random.uniform(jax.random.key(0), (3, 4, 6, 2))
TRAIN, EVALUATE = Context(True), Context(False)
NORM = {"decay": 0.9, "epsilon": 1e-4}


class Network(nn.Module):
    """The simplest network for a coupling; it also works on vectors."""

    @nn.compact
    def __call__(self, kept, outputs, context):
        conditions = () if context.condition is None else (context.condition,)
        return nn.tanh(nn.Dense(outputs)(jnp.concatenate([nn.elu(kept), *conditions], -1)))


def coupling(split, kind=None):
    return Coupling(split, Network(), kind or Affine(1.0))


TRANSFORMS = {
    "even": lambda: coupling(Checkerboard(0)),
    "odd": lambda: coupling(Checkerboard(1)),
    "first half": lambda: coupling(ChannelHalf(0)),
    "second half": lambda: coupling(ChannelHalf(1)),
    "even columns": lambda: coupling(Columns(0)),
    "additive": lambda: coupling(Checkerboard(0), Additive()),
    "sigmoid affine": lambda: coupling(ChannelHalf(1), SigmoidAffine()),
    "even channels": lambda: coupling(EvenOdd(0)),
    "odd channels": lambda: coupling(EvenOdd(1), Additive()),
    "mixture": lambda: coupling(Columns(1), MixtureCdf(2)),
    "learned prior": lambda: coupling(ChannelHalf(1), Standardise()),
    "prior of everything": lambda: Coupling(Everything(), ZeroConv(), Standardise()),
    "logistic prior": lambda: LogisticPrior(),
    "actnorm": lambda: ActNorm(),
    "actnorm of positions": lambda: ActNorm(1.0, by_position=True),
    "rescale": lambda: Rescale(),
    "1×1": lambda: InvertibleConvolution(),
    "flatten": lambda: Chain(
        (Flatten((4, 6, 2)), coupling(EvenOdd(1)), Inverse(Flatten((4, 6, 2))))
    ),
    "logit": lambda: Logit(0.05),
    "squeeze": lambda: Squeeze(),
    "ordered squeeze": lambda: OrderedSqueeze(),
    "unsqueeze": lambda: Chain((Squeeze(), coupling(ChannelHalf(1)), Inverse(Squeeze()))),
    "factor out": lambda: FactorOut(ChannelHalf(1), Logit(0.05)),
    "half of the columns": lambda: FactorOut(Columns(0), InvertibleConvolution()),
    "norm of pixels": lambda: FlowBatchNorm(Checkerboard(0), **NORM),
    "norm of channels": lambda: FlowBatchNorm(ChannelHalf(1), **NORM),
}
every = pytest.mark.parametrize("name", TRANSFORMS)
# Of layers with batch statistics training has no inverse; its determinant takes them as constants.
MODES = [(name, False) for name in TRANSFORMS]
MODES += [(name, True) for name in TRANSFORMS if "norm" not in name]
every_mode = pytest.mark.parametrize(("name", "train"), MODES)


def made(module, x=X):
    """Variables away from their initial values; nothing is compiled."""
    init = functools.partial(module.init, method="forward_and_log_det")
    return randomized(zeros_like(jax.eval_shape(init, jax.random.key(1), x, TRAIN)))


def forward(module, variables, x=X, context=EVALUATE):
    return module.apply(variables, x, context, method="forward_and_log_det")


@functools.cache
def built(name, train=False):
    """(variables, forward, inverse)."""
    module, context = TRANSFORMS[name](), Context(train)
    variables = made(module)
    inverse = functools.partial(module.apply, variables, method="inverse_and_log_det")
    maps = (functools.partial(forward, module, variables), inverse)
    return variables, *(jax.jit(functools.partial(each, context=context)) for each in maps)


@every_mode
def test_the_inverse_undoes_the_forward_direction(name, train):
    _, forward, inverse = built(name, train)
    y, log_det = forward(X)
    x, inverse_log_det = inverse(y)
    np.testing.assert_allclose(x, X, atol=1e-5)
    np.testing.assert_allclose(inverse_log_det, -log_det, rtol=1e-5, atol=1e-4)
    assert log_det.shape == (3,) and y.size == X.size and (y.ravel() != X.ravel()).any()


@every_mode
def test_the_log_determinant_is_that_of_the_jacobian(name, train):
    _, forward, _ = built(name, train)
    expected = jacobian_log_det(lambda x: forward(x)[0], X[1:2])
    np.testing.assert_allclose(forward(X)[1][1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "split"),
    [("even", Checkerboard(0)), ("second half", ChannelHalf(1)), ("odd channels", EvenOdd(1))],
)
def test_a_coupling_keeps_what_it_is_a_function_of(name, split):
    """Changed dimensions depend on themselves by one factor each, and on some kept dimensions."""
    _, forward, _ = built(name)
    changed = np.broadcast_to(split.mask(X.shape), X.shape[1:]).astype(bool).ravel()
    jacobian = jax.jit(jax.jacfwd(lambda x: forward(x.reshape(1, *X.shape[1:]))[0].ravel()))
    matrix = np.asarray(jacobian(X[0].ravel()))
    np.testing.assert_array_equal(matrix[~changed][:, ~changed], np.eye((~changed).sum()))
    np.testing.assert_array_equal(matrix[~changed][:, changed], 0)
    own = matrix[changed][:, changed]
    np.testing.assert_array_equal(own, np.diag(np.diag(own)))


@pytest.mark.parametrize("split_of", [Checkerboard, ChannelHalf, Columns, EvenOdd])
def test_two_splits_change_everything_and_a_split_joins_what_it_halves(split_of):
    first, second = split_of(0), split_of(1)
    np.testing.assert_array_equal(first.mask(X.shape) + second.mask(X.shape), 1)
    np.testing.assert_array_equal(second.join(*second.halves(X)), X)
    kept, changed = second.halves(X)
    np.testing.assert_array_equal(second.join(0 * kept, changed), X * second.mask(X.shape))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_other_channel_of_any_number_is_put_back(count):
    x = jnp.arange(2.0 * count).reshape(2, count)
    for parity in (0, 1):
        kept, changed = EvenOdd(parity).halves(x)
        np.testing.assert_array_equal(EvenOdd(parity).join(kept, changed), x)
        np.testing.assert_array_equal(changed, x[:, np.arange(count) % 2 == parity])


def test_a_checkerboard_counts_rows_and_columns():
    np.testing.assert_array_equal(Checkerboard(1).mask((2, 3, 1))[..., 0], [[0, 1, 0], [1, 0, 1]])


def test_squeezed_channels_are_the_pixels_of_a_square():
    x = jnp.arange(16.0).reshape(1, 2, 4, 2)  # pixel (i, j) holds 8i + 2j and one more
    squeezed, _ = Squeeze().forward_and_log_det(x, EVALUATE)
    np.testing.assert_array_equal(squeezed[0, 0, 0], [0, 2, 8, 10, 1, 3, 9, 11])
    ordered, _ = OrderedSqueeze().forward_and_log_det(x, EVALUATE)
    np.testing.assert_array_equal(ordered[0, 0, 0], [0, 1, 10, 11, 2, 3, 8, 9])
    np.testing.assert_array_equal(ordered[0, 0, 1], ordered[0, 0, 0] + 4)


def test_what_is_factored_out_stays_as_it_is():
    y = built("factor out")[1](X)[0]
    np.testing.assert_array_equal(y[..., 1], X[..., 1])
    assert (y[..., 0] != X[..., 0]).all()


def test_a_factored_out_half_may_have_a_learned_prior():
    """As in Glow: ln p = ln p(z₁) + ln N(z₂; µ(z₁), σ²(z₁))."""
    prior, rest = coupling(ChannelHalf(1)), Logit(0.05)
    flow = Chain((prior, FactorOut(ChannelHalf(1), rest)))
    variables = made(flow)
    actual, _ = flow.apply(variables, X, EVALUATE, method="log_prob")
    own = {"params": variables["params"]["transforms_0"]}
    z1, z2 = jnp.split(X, 2, -1)
    parameters = prior.bind(own).network(z1, 2, EVALUATE)
    log_std = -own["params"]["kind"]["scale"] * jnp.tanh(parameters[..., 1:])
    of_z2 = gaussian_log_prob(z2, -parameters[..., :1], log_std).sum((1, 2, 3))
    of_z1, _ = rest.apply({}, z1, EVALUATE, method="log_prob")
    np.testing.assert_allclose(actual, of_z1 + of_z2, rtol=1e-5)


def test_vectors_flow_too_and_the_density_integrates_to_one():
    flow = Chain((coupling(ChannelHalf(1)), coupling(ChannelHalf(0))))
    steps = np.arange(-12, 12, 0.08, np.float32)
    x = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    log_prob = jax.jit(functools.partial(flow.apply, method="log_prob"))
    total, parts = log_prob(made(flow, x[:3]), x, EVALUATE)
    np.testing.assert_allclose(np.exp(np.float64(total)).sum() * 0.08**2, 1, atol=1e-3)
    np.testing.assert_allclose(total, parts["prior"] + parts["log_det"], rtol=1e-6)


def test_a_chain_passes_the_context_on():
    """A condition reaches the inner coupling, and the noise reaches the layer that draws it."""
    flow = FactorOut(ChannelHalf(1), Chain((Chain((Dequantise(17), coupling(ChannelHalf(0)))),)))
    x, condition = jnp.ones((3, 4, 4), jnp.uint8), jnp.ones((3, 4, 1))

    def map_with(seed, condition):
        context = Context(True, noise_of(jax.random.key(seed), 3), condition)
        init = functools.partial(flow.init, method="forward_and_log_det")
        return forward(flow, jax.jit(init)(jax.random.key(0), x, context), x, context)[0]

    first = map_with(0, condition)
    assert (first != map_with(1, condition)).any() and (first != map_with(0, 2 * condition)).any()
    np.testing.assert_array_equal(first, map_with(0, condition))


class Estimate(Transform):
    """A transform with an estimated determinant."""

    likelihood = "estimate"


def test_a_flow_is_as_exact_as_its_loosest_layer():
    logit, dequantise = Logit(0.05), Dequantise(17)
    assert Chain(()).likelihood == Chain((logit, Squeeze())).likelihood == "exact"
    assert Chain((dequantise, FactorOut(ChannelHalf(1), logit))).likelihood == "bound"
    assert FactorOut(ChannelHalf(1), Inverse(Estimate())).likelihood == "estimate"
    assert Chain((dequantise, Estimate(), logit)).likelihood == "estimate"


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"4×5 pixels cannot be squeezed.*fewer scales"):
        Squeeze().forward_and_log_det(X[:, :, :5], EVALUATE)
    with pytest.raises(ValueError, match=r"halve 1 channels.*checkerboard"):
        ChannelHalf(0).halves(X[..., :1])
    with pytest.raises(ValueError, match=r"5 columns is no half.*checkerboard"):
        Columns(0).halves(X[:, :, :5])
    with pytest.raises(ValueError, match=r"draws noise: give Context\(train, noise\)"):
        Dequantise(17).forward_and_log_det(X, TRAIN)
    norm = TRANSFORMS["norm of pixels"]()
    with pytest.raises(ValueError, match=r"train=True.*cannot be inverted.*give Context\(train=F"):
        norm.apply(built("norm of pixels")[0], X, TRAIN, method="inverse_and_log_det")
