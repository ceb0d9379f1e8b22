"""Dequantisation by learned noise (Flow++: Ho et al., 2019, section 3.1; thesis, 2.12.1)."""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.dequantization import place, uniform
from gm_jax.flows.dequantise import Dequantise
from gm_jax.flows.transform import Context, Likelihood, Transform, sum_of_example

Array = jax.Array
MARGIN = 2.0**-16  # u stays this far from 0 and 1, so that float32 never rounds v + u to v + 1


class VariationalDequantise(Dequantise, kw_only=True):
    """x = low + (high − low)·(v + u)/levels with u ~ q(u | v).

    ln P(v) ≥ E_q[ln p(x) + D·ln((high − low)/levels) − ln q(u | v)] (thesis, Eq. 2.84) for any q on
    the unit cube. The log-determinant of the forward direction contains −ln q, so that one draw of
    u gives what stands inside of the mean; that of the inverse does not, as rounding draws nothing.

    u = σ(g(ε; v)) with logistic noise ε and a flow g that is conditioned on v. Where g is the
    identity q is uniform, but for 2⁻¹⁶ at either end. The authors' code has Gaussian noise, with
    which only a g that is not the identity makes q uniform.

    Attributes:
      encoder: maps (v/levels − ½, context) to the condition of g.
      noise: g, a flow of arrays in the shape of the images.
    """

    encoder: nn.Module
    noise: Transform

    @property
    def likelihood(self) -> Likelihood:
        """A bound, or an estimate of one if ln q is estimated."""
        return "estimate" if self.noise.likelihood == "estimate" else "bound"

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps levels uint8 [B, ...] to float32 and D·ln((high − low)/levels) − ln q(u | v) [B]."""
        if context.noise is None:
            raise ValueError("VariationalDequantise draws noise: give Context(train, noise)")
        start = uniform(context.noise, *x.shape[1:])
        epsilon = jnp.log(start) - jnp.log1p(-start)
        condition = self.encoder(x.astype(jnp.float32) / self.levels - 0.5, context)
        conditioned = dataclasses.replace(context, condition=condition)
        moved, log_det = self.noise.forward_and_log_det(epsilon, conditioned)
        fraction = MARGIN + (1 - 2 * MARGIN) * nn.sigmoid(moved)
        log_q = sum_of_example(_log_slope(epsilon) - _log_slope(moved)) - log_det
        log_q -= x[0].size * math.log(1 - 2 * MARGIN)
        return place(x, fraction, self.levels, self.interval), self._log_det(x) - log_q


def _log_slope(x: Array) -> Array:
    """ln σ'(x), which is the log-density of logistic noise, too."""
    return nn.log_sigmoid(x) + nn.log_sigmoid(-x)
