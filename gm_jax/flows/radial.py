"""Radial flow: a layer that moves points to or from a centre (Rezende & Mohamed, 2015, Eq. 14)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.amortised import Amortised, positive
from gm_jax.flows.transform import Context, Transform

Array = jax.Array
TINY = 1e-30


class Radial(Transform):
    """y = x + β/(α + r)·(x − c) for vectors x [B, D], r = ‖x − c‖, with β > −α (appendix A.2).

    β = α·(softplus(b + ln(e − 1)) − 1). The paper has softplus(b) − α, which takes the same values;
    here the layer is the identity at b = 0, where it starts.

    c, a and b are the layer's own, or linear in the context's condition (`Amortised`): D + 2. α is
    `positive(a)`.
    """

    def setup(self) -> None:
        self.c = Amortised(nn.initializers.normal(1.0))  # layers with equal centres would stay so
        self.a = Amortised()
        self.b = Amortised()

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x to y and (D − 1)·ln(1 + β/(α + r)) + ln(1 + αβ/(α + r)²) in nats [B]."""
        centre, alpha, reach = self._parameters(x, context)
        away = x - centre
        r = _length(away)
        y = centre + away * ((r + reach) / (alpha + r))[:, None]
        return y, _log_det(r, alpha, reach, x.shape[-1])

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y to x and ln|det ∂x/∂y| in nats [B].

        r is the positive root of r² + (α + β − r')·r − α·r' = 0 with r' = ‖y − c‖.
        """
        centre, alpha, reach = self._parameters(y, context)
        away = y - centre
        distance = _length(away)
        surplus = distance - reach
        # Half of the sum of numbers of one sign: the other root's formula would cancel digits.
        total = abs(surplus) + jnp.sqrt(surplus**2 + 4 * alpha * distance)
        r = jnp.where(surplus > 0, total / 2, 2 * alpha * distance / total)
        x = centre + away * ((alpha + r) / (r + reach))[:, None]
        return x, -_log_det(r, alpha, reach, y.shape[-1])

    def _parameters(self, x: Array, context: Context) -> tuple[Array, Array, Array]:
        """c, α and α + β, which are positive."""
        alpha = positive(self.a(1, context)[..., 0])
        reach = alpha * positive(self.b(1, context)[..., 0])
        return self.c(x.shape[-1], context), alpha, reach


def _log_det(r: Array, alpha: Array, reach: Array, size: int) -> Array:
    """The log-determinant as logarithms of ratios of positive numbers."""
    across = jnp.log((r + reach) / (alpha + r))
    along = jnp.log((r**2 + 2 * alpha * r + alpha * reach) / (alpha + r) ** 2)
    return (size - 1) * across + along


def _length(x: Array) -> Array:
    """‖x‖ of vectors [B, D], with a gradient at 0, too: [B]."""
    return jnp.sqrt(jnp.maximum(jnp.sum(x**2, -1), TINY))
