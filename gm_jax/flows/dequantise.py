"""From the levels of an image to the reals: dequantisation and the logit."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.dequantization import dequantize, requantize
from gm_jax.flows.transform import Context, Likelihood, Transform, sum_of_example

Array = jax.Array


class Dequantise(Transform):
    """x = low + (high − low)·(v + u)/levels for levels v and uniform noise u (thesis, 2.12.1).

    P(v) = E_u[p(x)·((high − low)/levels)^D], where p is the density of the layers that follow. One
    draw of the noise gives ln p(x) + D·ln((high − low)/levels), whose mean is a lower bound on
    ln P(v), by Jensen's inequality.

    Attributes:
      levels: number of values, 2..256.
      interval: (low, high).
    """

    levels: int
    interval: tuple[float, float] = (0.0, 1.0)

    @property
    def likelihood(self) -> Likelihood:
        """A bound."""
        return "bound"

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps levels uint8 [B, ...] to float32 [B, ...] and D·ln((high − low)/levels) [B]."""
        if context.noise is None:
            raise ValueError("Dequantise draws noise: give Context(train, noise)")
        return dequantize(x, self.levels, context.noise, self.interval), self._log_det(x)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, ...] to the levels in whose intervals it lies, uint8, and −log-det [B].

        Rounding has no Jacobian. The returned value is minus that of the forward direction, which
        is the same for every image and noise; so the two sum to 0, as for any other layer. Values
        outside the interval go to the end levels, although the forward direction never reaches
        them: P(v) sums to the mass within the interval.
        """
        del context
        return requantize(y, self.levels, self.interval), -self._log_det(y)

    def _log_det(self, x: Array) -> Array:
        low, high = self.interval
        return jnp.full(x.shape[0], x[0].size * math.log((high - low) / self.levels))


class Logit(Transform):
    """y = ln p − ln(1 − p) with p = margin + (1 − 2·margin)·x (Dinh et al., 2017, §4.1).

    The margin keeps p away from 0 and 1.

    Attributes:
      margin: in (0, ½); .05 gives the authors' .05 and .9.
    """

    margin: float

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, ...] in [0, 1] to y and ln|det ∂y/∂x| in nats [B]."""
        del context
        p = self.margin + (1 - 2 * self.margin) * x
        y = jnp.log(p) - jnp.log1p(-p)
        return y, self._log_det(y)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y to x, outside [0, 1] if y is from no image, and ln|det ∂x/∂y| in nats [B]."""
        del context
        x = (nn.sigmoid(y) - self.margin) / (1 - 2 * self.margin)
        return x, -self._log_det(y)

    def _log_det(self, y: Array) -> Array:
        slopes = nn.softplus(y) + nn.softplus(-y) + math.log(1 - 2 * self.margin)
        return sum_of_example(slopes)
