"""Devices exchange what a single device with the global batch would compute."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from gm_jax import devices

X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
TREE = {"a": X, "b": {"c": X[:, 0]}}


def on_eight(mode, function):
    """A function of a share of the global batch, its results stacked: [8, ...]."""
    if mode == "pmap":
        mapped = jax.pmap(function, devices.AXIS)
        return mapped, lambda tree: jax.tree.map(lambda x: x.reshape(8, 2, *x.shape[1:]), tree)
    mesh = jax.make_mesh((8,), (devices.AXIS,), (jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(
        lambda tree: jax.tree.map(lambda x: x[None], function(tree)),
        mesh=mesh,
        in_specs=P(devices.AXIS),
        out_specs=P(devices.AXIS),
        check_vma=False,
    )
    return jax.jit(mapped), lambda tree: tree


def call(mode, function, tree):
    mapped, place = on_eight(mode, function)
    return jax.device_get(mapped(place(tree)))


MODES = pytest.mark.parametrize("mode", ["pmap", "shard_map"])


def test_where_the_axis_is_not_bound_all_is_of_one_device():
    assert devices.bound_axis() is None
    assert devices.mean(TREE) is TREE and devices.gather(X) is X
    np.testing.assert_array_equal(jax.jit(lambda: devices.index(5))(), np.arange(5))
    other = jax.vmap(lambda x: devices.gather(devices.mean(x)), axis_name="other")
    np.testing.assert_array_equal(other(X), X)


@MODES
def test_the_mean_is_that_of_the_global_batch_on_every_device(mode):
    mean = functools.partial(jax.tree.map, lambda x: jnp.mean(x, 0))
    found = call(mode, lambda tree: devices.mean(mean(tree)), TREE)
    expected = jax.tree.map(lambda x: np.repeat(x.mean(0)[None], 8, 0), TREE)
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-7)


@MODES
def test_the_gathered_batch_is_the_global_one_in_its_order(mode):
    found = call(mode, devices.gather, X)
    np.testing.assert_array_equal(found, np.repeat(X[None], 8, 0))


@MODES
def test_the_index_numbers_the_global_batch(mode):
    found = call(mode, lambda x: devices.index(len(x)), X)
    np.testing.assert_array_equal(found.ravel(), np.arange(16))
    assert found.dtype == np.int32


@MODES
def test_a_batch_is_numbered_globally_unless_it_has_its_numbers(mode):
    numbered = call(mode, devices.numbered, {"image": X})
    np.testing.assert_array_equal(numbered["index"].ravel(), np.arange(16))
    np.testing.assert_array_equal(numbered["image"].reshape(16, 3), X)
    given = np.arange(16, 0, -1)
    kept = call(mode, devices.numbered, {"image": X, "index": given})
    np.testing.assert_array_equal(kept["index"].ravel(), given)


@MODES
def test_a_tree_is_averaged_in_one_all_reduce(mode):
    mapped, place = on_eight(mode, devices.mean)
    program = mapped.lower(place(TREE)).as_text()
    assert program.count("stablehlo.all_reduce") == 1
