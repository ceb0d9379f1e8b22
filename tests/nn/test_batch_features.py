"""Features of the batch: by hand, under permutations, on several devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import devices
from gm_jax.nn import batch_features
from gm_jax.nn.batch_features import MinibatchDiscrimination, standard_deviation
from tests.support import randomized

X = jax.random.normal(jax.random.key(0), (16, 6))
LAYER = MinibatchDiscrimination(kernels=3, dimensions=2)
VARIABLES = randomized(LAYER.init(jax.random.key(1), X))
FEATURES = {
    "minibatch_discrimination": lambda x: LAYER.apply(VARIABLES, x),
    "standard_deviation": standard_deviation,
}


def test_minibatch_discrimination_is_that_of_the_paper():
    """Section 3.2 of Salimans et al. (2016), in loops."""
    params = jax.tree.map(np.float64, VARIABLES["params"])
    lengths = np.exp(params["log_scale"]) / np.linalg.norm(params["theta"], axis=0)
    projected = np.einsum("bf,fkd->bkd", X, params["theta"] * lengths)
    expected = np.zeros((16, 3))
    for i in range(16):
        for j in set(range(16)) - {i}:
            expected[i] += np.exp(-np.abs(projected[i] - projected[j]).sum(-1))
    found = FEATURES["minibatch_discrimination"](X)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_equal_examples_are_seen_as_equal():
    same = jnp.broadcast_to(X[:1], X.shape)
    np.testing.assert_allclose(FEATURES["minibatch_discrimination"](same), 15, rtol=1e-6)
    np.testing.assert_allclose(standard_deviation(same), 1e-4, rtol=1e-2)
    np.testing.assert_allclose(standard_deviation(X)[:, 0], np.std(X, 0).mean(), rtol=1e-5)


@pytest.mark.parametrize("kind", FEATURES)
def test_eight_devices_see_one_batch_and_its_gradient(kind):
    def value_and_slope(x):
        return FEATURES[kind](x), jax.grad(lambda x: jnp.sum(FEATURES[kind](x) ** 2))(x)

    alone = jax.jit(value_and_slope)(X)
    together = jax.pmap(value_and_slope, devices.AXIS)(X.reshape(8, 2, 6))
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match="choose among none, minibatch_discrimination, standard"):
        batch_features.append("variance", X)
