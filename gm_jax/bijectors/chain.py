"""Composition of bijectors."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array


class Chain(nn.Module):
    """One bijector after the other, from data to features; log-determinants add up.

    Attributes:
      bijectors: in the order of the forward direction.
    """

    bijectors: Sequence[nn.Module]

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and ln|det ∂y/∂x| in nats [B]."""
        log_det = jnp.zeros(x.shape[0])
        for bijector in self.bijectors:
            x, change = bijector.forward_and_log_det(x, train)
            log_det += change
        return x, log_det

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y to x [B, H, W, C] and ln|det ∂x/∂y| in nats [B]."""
        log_det = jnp.zeros(y.shape[0])
        for bijector in reversed(self.bijectors):
            y, change = bijector.inverse_and_log_det(y)
            log_det += change
        return y, log_det
