"""Soft free bits: weights that hold each layer's divergence near a target (Chen et al., 2017).

The weights are statistics of the global batch, part of a network's variables.
"""

import jax
import jax.numpy as jnp

from gm_jax import devices

Array = jax.Array
COLLECTION = "soft_free_bits"
TOLERANCE = 0.05  # by which a divergence may exceed the target while its weight still falls
LEAST = 1e-3  # weight: one that fell for long is back at 1 in as few steps as it takes from here


def start(num_layers: int) -> dict[str, Array]:
    """Weights of 1, the evidence lower bound, of some layers."""
    return {"weight": jnp.ones(num_layers)}


def follow(weights: dict[str, Array], kl: Array, target: float, rate: float) -> dict[str, Array]:
    """The weights after a batch: γ ← min(1, γ(1 + r)) if a KL is above the target, else γ/(1 + r).

    γ is at least LEAST.

    The paper (appendix C) changes γ by 10 % and does not say how often; here it is after every
    update, so that r is smaller.

    Args:
      weights: from `start` or from here.
      kl: this device's, float32 [B, layers] in nats.
      target: nats per layer.
      rate: r > 0.
    """
    mean = devices.mean(jax.lax.stop_gradient(jnp.mean(kl, 0)))
    factor = jnp.where(mean > (1 + TOLERANCE) * target, 1 + rate, 1 / (1 + rate))
    return {"weight": jnp.clip(weights["weight"] * factor, LEAST, 1.0)}
