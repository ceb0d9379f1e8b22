"""The k-sample bound on a log-likelihood, as an objective."""

import math

import jax
import jax.numpy as jnp

Array = jax.Array


def importance_weighted(log_weights: Array) -> Array:
    """ln (1/k) Σ_i w_i with w_i = p(x, z_i) / q(z_i | x), z_i ~ q (Burda et al., 2016, Eq. 8).

    In expectation it does not decrease with k, and for k = 1 it is the evidence lower bound. Its
    gradient weights that of each ln w_i by w_i / Σ_j w_j (their Eq. 14).

    Args:
      log_weights: float [k, B, ...] in nats, k ≥ 1.

    Returns:
      float32 [B, ...] in nats.
    """
    log_weights = jnp.asarray(log_weights).astype(jnp.float32)
    return jax.nn.logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])
