"""Batch norm: global moments, running averages, and their start."""

import flax.linen as nn
import jax
import numpy as np

from gm_jax import devices
from gm_jax.nn.batch_norm import BatchNorm, BatchStatistics, forgetting, global_moments

X = 4 + 2 * jax.random.normal(jax.random.key(0), (16, 3, 3, 5))


def test_training_standardises_every_channel_and_adds_the_shift():
    norm = BatchNorm(decay=0.9, epsilon=1e-6)
    variables = norm.init(jax.random.key(0), X, True)
    variables["params"]["bias"] = np.arange(5.0, dtype=np.float32)
    y, _ = norm.apply(variables, X, True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1, 2)), np.arange(5), atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-4)


def test_running_averages_start_at_the_first_batch_and_decay():
    statistics = BatchStatistics(decay=0.75)
    variables = statistics.init(jax.random.key(0), X, True)
    first, second = global_moments(X), global_moments(3 * X + 1)
    np.testing.assert_array_equal(statistics.apply(variables, X, False), first)
    moments, variables = statistics.apply(variables, 3 * X + 1, True, mutable=["batch_stats"])
    np.testing.assert_array_equal(moments, second)
    expected = 0.75 * np.stack(first) + 0.25 * np.stack(second)
    np.testing.assert_allclose(statistics.apply(variables, X, False), expected, rtol=1e-6)


def test_running_averages_that_forget_are_the_moments_of_the_last_batch():
    statistics = BatchStatistics(decay=0.75)
    variables = statistics.init(jax.random.key(0), X, True)
    with forgetting():
        _, last = statistics.apply(variables, 3 * X + 1, True, mutable=["batch_stats"])
    np.testing.assert_array_equal(statistics.apply(last, X, False), global_moments(3 * X + 1))
    _, later = statistics.apply(variables, 3 * X + 1, True, mutable=["batch_stats"])
    assert (later["batch_stats"]["mean"] != last["batch_stats"]["mean"]).all()


def test_without_running_averages_it_takes_the_moments_of_its_batch_always():
    norm = BatchNorm(decay=None, epsilon=1e-6)
    variables = norm.init(jax.random.key(0), X, False)
    assert variables.keys() == {"params"}
    y = norm.apply(variables, 3 * X + 1, False)
    np.testing.assert_allclose(y.std((0, 1, 2)), 1, rtol=1e-4)


def test_moments_are_those_of_the_global_batch():
    split = X.reshape(8, 2, 3, 3, 5)
    moments = jax.pmap(global_moments, devices.AXIS)(split)
    array = np.asarray(X, np.float64)
    for found, expected in zip(moments, (array.mean((0, 1, 2)), array.var((0, 1, 2))), strict=True):
        np.testing.assert_allclose(found, np.tile(expected, (8, 1)), rtol=1e-5)


def test_the_gradient_is_that_of_the_global_batch():
    """Through the moments every example moves every other's output."""
    norm = BatchNorm(decay=0.9, epsilon=1e-4)
    variables = norm.init(jax.random.key(0), X, True)

    def loss(x):
        y, _ = norm.apply(variables, x, True, mutable=["batch_stats"])
        return (y**3).sum()

    alone = jax.grad(loss)(X)
    together = jax.pmap(jax.grad(loss), devices.AXIS)(X.reshape(8, 2, 3, 3, 5))
    np.testing.assert_allclose(together.reshape(X.shape), alone, rtol=1e-4, atol=1e-4)


def test_a_label_chooses_shift_and_scale():
    norm = BatchNorm(0.9, 1e-4, scale_init=nn.initializers.ones, num_classes=3)
    label, each = np.arange(16) % 3, np.arange(15.0).reshape(3, 5)
    variables = norm.init(jax.random.key(0), X, True, label)
    assert (variables["params"]["scale"] == 1).all()
    variables["params"] = {"scale": 2 + each, "bias": 3 * each}
    y, _ = norm.apply(variables, X, True, label, mutable=["batch_stats"])
    plain = BatchNorm(0.9, 1e-4)
    standard, _ = plain.init_with_output(jax.random.key(0), X, True)
    rows = each[label][:, None, None]
    np.testing.assert_allclose(y, standard * (2 + rows) + 3 * rows, rtol=1e-5, atol=1e-4)
