"""Affine coupling in which half of the channels changes the rest (Dinh et al., 2017, Eqs. 7–9)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.bijectors.coupling_network import CouplingNetwork

Array = jax.Array


class ChannelCoupling(nn.Module):
    """y = (x + t)·e^s on one half of the channels, with t and s functions of the other half.

    Shift before scale and s = scale·tanh(·) with one learned scale, 1 at first, as in the authors'
    code (Eq. 8 of the paper scales first).

    Attributes:
      half: 0 changes the first half of the channels, 1 the second.
      features, num_blocks, batch_norm_decay, batch_norm_epsilon, dtype: of `CouplingNetwork`.
    """

    half: int
    features: int
    num_blocks: int
    batch_norm_decay: float
    batch_norm_epsilon: float
    dtype: Any = jnp.float32

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and ln|det ∂y/∂x| in nats [B]."""
        kept, changed = self._split(x)
        shift, log_scale = self._shift_and_log_scale(kept, train)
        changed = (changed + shift) * jnp.exp(log_scale)
        return self._join(kept, changed), jnp.sum(log_scale, (1, 2, 3))

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y [B, H, W, C] to x and ln|det ∂x/∂y| in nats [B]."""
        kept, changed = self._split(y)
        shift, log_scale = self._shift_and_log_scale(kept, False)
        changed = changed * jnp.exp(-log_scale) - shift
        return self._join(kept, changed), -jnp.sum(log_scale, (1, 2, 3))

    @nn.compact
    def _shift_and_log_scale(self, kept: Array, train: bool) -> tuple[Array, Array]:
        """t and s [B, H, W, C/2] of the kept half."""
        network = CouplingNetwork(
            self.features,
            self.num_blocks,
            2 * kept.shape[-1],
            self.batch_norm_decay,
            self.batch_norm_epsilon,
            self.dtype,
        )
        shift, log_scale = jnp.split(network(kept, None, train), 2, -1)
        return shift, self.param("scale", nn.initializers.ones, ()) * jnp.tanh(log_scale)

    def _split(self, x: Array) -> tuple[Array, Array]:
        """The kept and the changed half."""
        if x.shape[-1] % 2:
            raise ValueError(
                f"a channel coupling cannot halve {x.shape[-1]} channels; squeeze before it, or "
                "use checkerboard couplings"
            )
        halves = jnp.split(x, 2, -1)
        return halves[1 - self.half], halves[self.half]

    def _join(self, kept: Array, changed: Array) -> Array:
        return jnp.concatenate([kept, changed] if self.half else [changed, kept], -1)
