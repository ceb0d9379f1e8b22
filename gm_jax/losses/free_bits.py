"""Free bits: a floor under each latent's Kullback-Leibler divergence."""

import jax
import jax.numpy as jnp

from gm_jax import devices

Array = jax.Array


def free_bits(kl: Array, floor: float) -> Array:
    """Σ max(floor, KL averaged over the batch), as per-example terms (Kingma et al., 2016, Eq. 15).

    A latent whose batch mean lies below the floor contributes the constant floor and no gradient.
    The batch is the global one, so the mean needs an all-reduce.

    Args:
      kl: float32 [B, ...] in nats, the divergence of each example and group of latents.
      floor: nats per group.

    Returns:
      Nats [B], whose mean over the global batch is the floored sum.
    """
    if floor <= 0:
        return jnp.sum(kl.reshape(kl.shape[0], -1), axis=1)
    batch_mean = devices.mean(jax.lax.stop_gradient(jnp.mean(kl, axis=0)))
    gate = (batch_mean > floor).astype(kl.dtype)
    floored = gate * kl + (1 - gate) * floor
    return jnp.sum(floored.reshape(kl.shape[0], -1), axis=1)
