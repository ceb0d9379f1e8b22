"""A bijector the other way round."""

import flax.linen as nn
import jax

Array = jax.Array


class Inverse(nn.Module):
    """Exchanges forward and inverse of a bijector without batch statistics, such as a squeeze.

    Attributes:
      bijector: the other way.
    """

    bijector: nn.Module

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """The bijector's inverse: x to y and ln|det ∂y/∂x| in nats [B]."""
        del train
        return self.bijector.inverse_and_log_det(x)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """The bijector's forward: y to x and ln|det ∂x/∂y| in nats [B]."""
        return self.bijector.forward_and_log_det(y, train=False)
