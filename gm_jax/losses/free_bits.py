"""Free bits: a floor under each latent's Kullback-Leibler divergence."""

import jax
import jax.numpy as jnp

Array = jax.Array


def free_bits(kl: Array, floor: float, axis_name: str | None = None) -> Array:
    """Σ max(floor, KL averaged over the batch), as per-example terms (Kingma et al., 2016, Eq. 15).

    A latent whose batch mean lies below the floor contributes the constant floor and no gradient.
    The batch is the global one: the mean is taken over `axis_name` too, in one all-reduce.

    Args:
      kl: float32 [B, ...] in nats, a divergence for each example and group of latents.
      floor: in nats a group.
      axis_name: the mapped axis over which the batch is split, if any.

    Returns:
      Nats [B], whose mean over the global batch is the floored sum.
    """
    if floor <= 0:
        return jnp.sum(kl.reshape(kl.shape[0], -1), axis=1)
    batch_mean = jax.lax.stop_gradient(jnp.mean(kl, axis=0))
    if axis_name is not None:
        batch_mean = jax.lax.pmean(batch_mean, axis_name)
    gate = (batch_mean > floor).astype(kl.dtype)
    floored = gate * kl + (1 - gate) * floor
    return jnp.sum(floored.reshape(kl.shape[0], -1), axis=1)
