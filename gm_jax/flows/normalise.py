"""Batch normalisation as an invertible layer (Dinh et al., 2017, §3.7 and appendix E)."""

import jax
import jax.numpy as jnp

from gm_jax.flows.coupling import Split
from gm_jax.flows.transform import Context, Transform
from gm_jax.nn.batch_norm import BatchStatistics

Array = jax.Array


class FlowBatchNorm(Transform):
    """y = (x − µ)/√(σ² + ε) on the changed dimensions of a split, per channel; nothing is learned.

    As in the authors' code, µ and σ² are moments of x·mask, including the positions that the mask
    zeroes: on a checkerboard these are half of all, which halves a centred channel's variance.

    Attributes:
      split: the dimensions that it changes are normalised.
      decay: as for `BatchStatistics`.
      epsilon: ε.
    """

    split: Split
    decay: float
    epsilon: float

    def setup(self) -> None:
        self.statistics = BatchStatistics(self.decay)

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, ..., C] to y and ln|det ∂y/∂x| = −½ Σ ln(σ² + ε) in nats [B].

        The determinant treats the moments of a training batch as constants, as the paper does.
        """
        mask = self.split.mask(x.shape)
        mean, variance = self.statistics(x * mask, context.train)
        log_scale = -0.5 * jnp.log(variance + self.epsilon) * mask
        return (x - mean * mask) * jnp.exp(log_scale), _sum(log_scale, x)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, ..., C] to x and ln|det ∂x/∂y| in nats [B], with the running moments."""
        if context.train:
            raise ValueError(
                "train=True: a batch norm cannot be inverted by the moments of a batch that is not "
                "known yet; give Context(train=False)"
            )
        mask = self.split.mask(y.shape)
        mean, variance = self.statistics(y, train=False)
        log_scale = 0.5 * jnp.log(variance + self.epsilon) * mask
        return y * jnp.exp(log_scale) + mean * mask, _sum(log_scale, y)


def _sum(log_scale: Array, x: Array) -> Array:
    """Sums a value that broadcasts to an example over the example, for every example: [B]."""
    return jnp.full(x.shape[0], jnp.sum(jnp.broadcast_to(log_scale, x.shape[1:])))
