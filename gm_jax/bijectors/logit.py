"""Opens the unit interval to the reals (Dinh et al., 2017, §4.1)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array


class Logit(nn.Module):
    """y = ln p − ln(1 − p) of p = margin + (1 − 2·margin)·x, which stays away from 0 and 1.

    Attributes:
      margin: in (0, ½); the authors' .05 and .9.
    """

    margin: float

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] in [0, 1] to y and ln|det ∂y/∂x| in nats [B]."""
        del train
        p = self.margin + (1 - 2 * self.margin) * x
        y = jnp.log(p) - jnp.log1p(-p)
        return y, self._log_det(y)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y [B, H, W, C] to x, outside of [0, 1] where no image is, and ln|det ∂x/∂y| [B]."""
        x = (nn.sigmoid(y) - self.margin) / (1 - 2 * self.margin)
        return x, -self._log_det(y)

    def _log_det(self, y: Array) -> Array:
        slopes = nn.softplus(y) + nn.softplus(-y) + math.log(1 - 2 * self.margin)
        return jnp.sum(slopes, (1, 2, 3))
