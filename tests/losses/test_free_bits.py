"""Free bits floor the batch mean of a divergence."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from gm_jax import devices
from gm_jax.losses.free_bits import free_bits

KL = jnp.abs(jax.random.normal(jax.random.key(0), (8, 3, 2)))
FLOOR = 0.8


def test_the_mean_is_the_floored_batch_mean():
    expected = np.maximum(np.asarray(KL).mean(0), FLOOR).sum()
    np.testing.assert_allclose(free_bits(KL, FLOOR).mean(), expected, rtol=1e-6)
    assert (np.asarray(KL).mean(0) < FLOOR).any() and (np.asarray(KL).mean(0) > FLOOR).any()


def test_latents_below_the_floor_have_no_gradient():
    gradient = np.asarray(jax.grad(lambda kl: free_bits(kl, FLOOR).mean())(KL))
    above = np.asarray(KL).mean(0) > FLOOR
    np.testing.assert_allclose(gradient[:, above], 1 / 8)
    np.testing.assert_array_equal(gradient[:, ~above], 0)


def test_no_floor_leaves_the_divergence():
    np.testing.assert_allclose(free_bits(KL, 0.0), KL.sum((1, 2)), rtol=1e-6)


def test_the_batch_is_the_global_one():
    mesh = jax.make_mesh((8,), (devices.AXIS,), (jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(
        lambda kl: free_bits(kl, FLOOR),
        mesh=mesh,
        in_specs=P(devices.AXIS),
        out_specs=P(devices.AXIS),
        check_vma=False,
    )
    np.testing.assert_allclose(jax.jit(mapped)(KL), free_bits(KL, FLOOR), rtol=1e-6)
