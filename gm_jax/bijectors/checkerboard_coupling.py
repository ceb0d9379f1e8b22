"""Affine coupling in which every other pixel changes the rest (Dinh et al., 2017, Eqs. 7–9)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.bijectors.coupling_network import CouplingNetwork
from gm_jax.bijectors.masks import checkerboard

Array = jax.Array


class CheckerboardCoupling(nn.Module):
    """y = (x + t)·e^s on the pixels of one colour, with t and s functions of the other colour's.

    Shift before scale and s = scale·tanh(·) with one learned scale, 0 at first, as in the authors'
    code (Eq. 9 of the paper scales first).

    Attributes:
      parity: 0 changes the pixels whose row and column sum to an even number, 1 the others.
      features, num_blocks, batch_norm_decay, batch_norm_epsilon, dtype: of `CouplingNetwork`.
    """

    parity: int
    features: int
    num_blocks: int
    batch_norm_decay: float
    batch_norm_epsilon: float
    dtype: Any = jnp.float32

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and ln|det ∂y/∂x| in nats [B]."""
        shift, log_scale = self._shift_and_log_scale(x, train)
        return (x + shift) * jnp.exp(log_scale), jnp.sum(log_scale, (1, 2, 3))

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y [B, H, W, C] to x and ln|det ∂x/∂y| in nats [B]."""
        shift, log_scale = self._shift_and_log_scale(y, False)
        return y * jnp.exp(-log_scale) - shift, -jnp.sum(log_scale, (1, 2, 3))

    @nn.compact
    def _shift_and_log_scale(self, x: Array, train: bool) -> tuple[Array, Array]:
        """t and s, 0 at the kept pixels, of which alone they are functions."""
        changed = checkerboard(x.shape, self.parity)
        network = CouplingNetwork(
            self.features,
            self.num_blocks,
            2 * x.shape[-1],
            self.batch_norm_decay,
            self.batch_norm_epsilon,
            self.dtype,
        )
        outputs = network(x * (1 - changed), 1 - changed, train)
        shift, log_scale = jnp.split(outputs * changed, 2, -1)
        return shift, self.param("scale", nn.initializers.zeros, ()) * jnp.tanh(log_scale)
