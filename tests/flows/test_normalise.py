"""Flow batch norm: moments of masked images, including zeros; running moments for the inverse."""

import jax
import numpy as np

from gm_jax.flows.coupling import Checkerboard
from gm_jax.flows.normalise import FlowBatchNorm
from gm_jax.flows.transform import Context
from gm_jax.nn.batch_norm import forgetting

X = 2 + 3 * jax.random.normal(jax.random.key(0), (64, 4, 4, 2))
TRAIN, EVALUATE = Context(True), Context(False)
CHANGED = Checkerboard(0).mask(X.shape)[..., 0].astype(bool)
NORM = FlowBatchNorm(Checkerboard(0), decay=0.9, epsilon=1e-4)
VARIABLES = NORM.init(jax.random.key(0), X, TRAIN, method="forward_and_log_det")


def test_zeroed_pixels_count_for_the_moments():
    (y, log_det), _ = NORM.apply(
        VARIABLES, X, TRAIN, method="forward_and_log_det", mutable=["batch_stats"]
    )
    masked = np.asarray(X, np.float64) * CHANGED[..., None]
    mean, variance = masked.mean((0, 1, 2)), masked.var((0, 1, 2))
    expected = (np.asarray(X) - mean) / np.sqrt(variance + 1e-4)
    np.testing.assert_allclose(y[:, CHANGED], expected[:, CHANGED], atol=1e-5)
    np.testing.assert_array_equal(y[:, ~CHANGED], X[:, ~CHANGED])
    by_channel = -0.5 * np.log(variance + 1e-4) * CHANGED.sum()
    np.testing.assert_allclose(log_det, np.full(64, by_channel.sum()), rtol=1e-5)


def test_the_inverse_takes_the_running_moments_of_evaluation():
    other = X[::-1] * 0.3 - 1
    (trained, _), statistics = NORM.apply(
        VARIABLES, other, TRAIN, method="forward_and_log_det", mutable=["batch_stats"]
    )
    y, _ = NORM.apply(statistics, other, EVALUATE, method="forward_and_log_det")
    x, _ = NORM.apply(statistics, y, EVALUATE, method="inverse_and_log_det")
    np.testing.assert_allclose(x, other, atol=1e-5)
    assert np.abs(y - trained).max() > 0.1


def test_the_moments_of_a_batch_are_those_of_its_masked_images():
    with forgetting():
        _, found = NORM.apply(
            VARIABLES, 3 * X, TRAIN, method="forward_and_log_det", mutable=["batch_stats"]
        )
    masked = 3 * np.asarray(X, np.float64) * CHANGED[..., None]
    moments = found["batch_stats"]["statistics"]
    np.testing.assert_allclose(moments["mean"], masked.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(moments["variance"], masked.var((0, 1, 2)), rtol=1e-5)
