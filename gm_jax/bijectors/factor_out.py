"""The multi-scale architecture: half of the dimensions is done, half goes on (§3.6, Eqs. 13–16)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.bijectors.ordered_squeeze import OrderedSqueeze

Array = jax.Array


class FactorOut(nn.Module):
    """Applies a bijector to one diagonal of every 2×2 square and leaves the other as it is.

    The halves return to their places by the inverse of the ordered squeeze, so that the features
    have the image's shape whatever the number of scales.

    Attributes:
      rest: the bijector of what goes on, [B, H/2, W/2, 2C].
    """

    rest: nn.Module

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and ln|det ∂y/∂x| in nats [B]."""
        going_on, done = _split(x)
        going_on, log_det = self.rest.forward_and_log_det(going_on, train)
        return _join(going_on, done), log_det

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y [B, H, W, C] to x and ln|det ∂x/∂y| in nats [B]."""
        going_on, done = _split(y)
        going_on, log_det = self.rest.inverse_and_log_det(going_on)
        return _join(going_on, done), log_det


def _split(x: Array) -> list[Array]:
    return jnp.split(OrderedSqueeze(parent=None).forward_and_log_det(x, False)[0], 2, -1)


def _join(going_on: Array, done: Array) -> Array:
    whole = jnp.concatenate([going_on, done], -1)
    return OrderedSqueeze(parent=None).inverse_and_log_det(whole)[0]
