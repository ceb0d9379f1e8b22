"""The pool of past samples: what enters, what is seen, and that devices share it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gm_jax import devices
from gm_jax.nn import pool

KEY = jax.random.key(0)
exchange = jax.jit(pool.exchange)


def numbered(count, first=0):
    return jnp.arange(first, first + count, dtype=jnp.float32)


def full(size=50):
    return exchange(pool.empty(size, ()), numbered(size), KEY)[0]


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_the_first_samples_pass_and_are_kept_in_order(batch):
    past = pool.empty(50, (2,))
    samples = jnp.stack([numbered(50), -numbered(50)], -1)
    for start in range(0, 50, batch):
        given = samples[start : start + batch]
        past, seen = exchange(past, given, jax.random.fold_in(KEY, start))
        np.testing.assert_array_equal(seen, given)
    np.testing.assert_array_equal(past["samples"], samples)
    assert past["count"] == 50 and past["count"].dtype == jnp.int32


def test_once_full_a_fresh_sample_is_seen_with_probability_one_half():
    count = 4_000
    _, seen = exchange(full(), numbered(count, 50), KEY)
    fresh = np.asarray(seen) == np.arange(50, 50 + count)
    assert abs(fresh.mean() - 1 / 2) < 4 * np.sqrt(1 / 4 / count)
    assert abs((fresh[1:] & fresh[:-1]).mean() - 1 / 4) < 0.03  # coins of their own
    assert (np.asarray(seen)[~fresh] < np.arange(50, 50 + count)[~fresh]).all()


def test_a_full_pool_loses_what_is_seen_and_keeps_the_rest():
    """Nothing is lost and nothing doubled, also where a sample leaves within its own batch."""
    before = full()
    after, seen = exchange(before, numbered(300, 50), KEY)
    there = np.concatenate([after["samples"], seen])
    np.testing.assert_array_equal(np.sort(there), np.arange(350))
    assert ((seen >= 50) & (seen < numbered(300, 50))).any()


def test_every_place_of_a_full_pool_is_given_up_equally_often():
    """The sample that leaves place i first is i: 50 places, about 20 exchanges each."""
    past, keys = full(), jax.random.split(KEY, 2_000)
    one = jax.jit(jax.vmap(lambda key: pool.exchange(past, numbered(1, 50), key)[1][0]))
    left = np.asarray(one(keys))
    counts = np.bincount(left[left < 50].astype(int), minlength=50)
    assert counts.min() > 0
    assert ((counts - counts.mean()) ** 2).sum() / counts.mean() < 49 + 4 * np.sqrt(2 * 49)


def test_eight_devices_enter_their_samples_in_order_into_one_pool():
    samples = jax.random.normal(KEY, (16, 3))
    before = exchange(pool.empty(20, (3,)), samples, KEY)[0]
    alone, seen = exchange(before, samples + 1, KEY)
    shared = jax.pmap(pool.exchange, devices.AXIS, in_axes=(None, 0, None))
    together, seen_apart = shared(before, (samples + 1).reshape(8, 2, 3), KEY)
    np.testing.assert_array_equal(seen_apart.reshape(16, 3), seen)
    for device in range(8):
        chex.assert_trees_all_equal(jax.tree.map(lambda x, i=device: x[i], together), alone)


def test_no_gradient_passes():
    gradient = jax.jit(jax.grad(lambda x: pool.exchange(full(5), x, KEY)[1].sum()))
    np.testing.assert_array_equal(gradient(numbered(20)), 0)
