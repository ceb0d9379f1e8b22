"""Noise belongs to the example, whatever batch it comes in."""

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.nn import per_example

KEY = jax.random.key(3)


def test_noise_of_an_example_does_not_depend_on_its_batch():
    whole = per_example.normal(KEY, jnp.arange(6), (2, 3))
    part = per_example.normal(KEY, jnp.array([4, 1]), (2, 3))
    np.testing.assert_array_equal(part, whole[jnp.array([4, 1])])
    assert np.unique(np.asarray(whole)).size == whole.size


def test_dropout_keeps_the_mean_and_drops_the_rate():
    x = jnp.ones((64, 8, 8, 4))
    index = jnp.arange(64)
    layer = per_example.Dropout(0.25)
    y = np.asarray(layer.apply({}, x, index, True, rngs={"dropout": KEY}))
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_allclose(y.mean(), 1, atol=0.02)
    np.testing.assert_allclose(y[y > 0], 4 / 3, rtol=1e-6)


def test_dropout_masks_follow_the_examples():
    x = jnp.ones((4, 33))
    layer = per_example.Dropout(0.5)
    whole = layer.apply({}, x, jnp.arange(4), True, rngs={"dropout": KEY})
    part = layer.apply({}, x[:1], jnp.array([2]), True, rngs={"dropout": KEY})
    np.testing.assert_array_equal(part[0], whole[2])
    assert (np.asarray(whole[0]) != np.asarray(whole[1])).any()


def test_dropout_does_nothing_outside_training():
    x = jnp.arange(8.0).reshape(2, 4)
    assert per_example.Dropout(0.5).apply({}, x, jnp.arange(2), False) is x


def test_global_index_counts_over_devices():
    batch = {"image": np.zeros((8, 2, 1, 1, 1), np.uint8)}
    index = jax.pmap(lambda b: per_example.global_index(b, "batch"), "batch")(batch)
    np.testing.assert_array_equal(index.ravel(), np.arange(16))
