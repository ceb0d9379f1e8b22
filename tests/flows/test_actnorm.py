"""Actnorm standardises the batch that it is initialised on, and stays as it is from then on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax.flows.actnorm import ActNorm
from gm_jax.flows.coupling import ChannelHalf, Coupling, SigmoidAffine
from gm_jax.flows.invertible_convolution import InvertibleConvolution
from gm_jax.flows.transform import Chain, Context
from gm_jax.networks.glow import CouplingNetwork
from gm_jax.nn.weight_norm import data_dependent_init

KEY, CONTEXT = jax.random.key(0), Context(True)
STDS = jnp.array([0.1, 1.0, 7.0, 3.0])
X = 2 + STDS * jax.random.normal(jax.random.key(1), (16, 4, 4, 4))


def initialise(flow, x):
    return data_dependent_init(flow, KEY, x, CONTEXT, method="forward_and_log_det")


def forward(flow, variables, x):
    return flow.apply(variables, x, CONTEXT, method="forward_and_log_det")


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_the_first_batch_is_standardised(factor):
    flow = ActNorm(factor)
    (passed_on, _), variables = initialise(flow, X)
    y, log_det = forward(flow, variables, X)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(passed_on, y, atol=1e-6)
    expected = -16 * np.log(np.asarray(X).std((0, 1, 2))).sum()
    np.testing.assert_allclose(log_det, np.full(16, expected), rtol=1e-5)


def test_later_batches_are_mapped_as_the_first_was():
    """Five times the first batch has five times the deviation, and its own mean."""
    _, variables = initialise(ActNorm(), X)
    y, _ = forward(ActNorm(), variables, 5 * X)
    mean, std = X.mean((0, 1, 2)), X.std((0, 1, 2))
    np.testing.assert_allclose(y.std((0, 1, 2)), 5, rtol=1e-4)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 4 * mean / std, rtol=1e-3)


def test_every_actnorm_of_a_flow_sees_what_the_layers_before_it_make():
    network = CouplingNetwork(3)
    couple = Coupling(ChannelHalf(1), network, SigmoidAffine())
    flow = Chain((ActNorm(), InvertibleConvolution(), couple, ActNorm()))
    (y, _), variables = jax.jit(lambda x: initialise(flow, x))(X)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-4)
    inner = variables["params"]["transforms_2"]["network"]
    assert all((inner[f"ActNorm_{n}"]["log_scale"] != 0).all() for n in (0, 1))


def test_a_constant_channel_is_refused_where_it_is_known_and_not_finite_elsewhere():
    constant = X.at[..., 2].set(7.1)
    with pytest.raises(ValueError, match=r"channels \[2\] of 4 are constant.*init_batch_size"):
        initialise(ActNorm(), constant)
    _, variables = jax.jit(lambda x: initialise(ActNorm(), x))(constant)
    np.testing.assert_array_equal(jnp.isnan(variables["params"]["log_scale"]), [0, 0, 1, 0])
