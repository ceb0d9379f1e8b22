"""Batch normalisation as an invertible layer (Dinh et al., 2017, §3.7 and appendix E)."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.nn.batch_norm import BatchStatistics

Array = jax.Array


class FlowBatchNorm(nn.Module):
    """y = (x − µ)/√(σ² + ε) on masked dimensions, by channel; nothing is learned.

    As in the authors' code µ and σ² are moments of x·mask, the positions that the mask zeroes
    included: on a checkerboard half of them are zeros, which halves a centred channel's variance.

    Attributes:
      mask: of the image's shape, 1 where x is changed; broadcasts to [H, W, C].
      decay: of `BatchStatistics`.
      epsilon: ε.
    """

    mask: Callable[[Sequence[int]], np.ndarray]
    decay: float
    epsilon: float

    def setup(self) -> None:
        self.statistics = BatchStatistics(self.decay)

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and ln|det ∂y/∂x| = −½ Σ ln(σ² + ε) in nats [B].

        The determinant takes the moments of a training batch for constants, as does the paper.
        """
        mask = self.mask(x.shape)
        mean, variance = self.statistics(x * mask, train)
        log_scale = -0.5 * jnp.log(variance + self.epsilon) * mask
        return (x - mean * mask) * jnp.exp(log_scale), _sum(log_scale, x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y [B, H, W, C] to x and ln|det ∂x/∂y| in nats [B], by the running moments."""
        mask = self.mask(y.shape)
        mean, variance = self.statistics(y, train=False)
        log_scale = 0.5 * jnp.log(variance + self.epsilon) * mask
        return y * jnp.exp(log_scale) + mean * mask, _sum(log_scale, y)


def _sum(log_scale: Array, x: Array) -> Array:
    """Sums what broadcasts to an image over the image, once for every example: [B]."""
    return jnp.full(x.shape[0], jnp.sum(jnp.broadcast_to(log_scale, x.shape[1:])))
