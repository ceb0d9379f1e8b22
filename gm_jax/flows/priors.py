"""Priors other than N(0, I), as the last layers of a flow whose prior is N(0, I).

A learned prior N(µ, σ²) of some dimensions given the others is a coupling, (z₂ − µ(z₁))/σ(z₁). In
front of `FactorOut` it is the prior of a split of Glow (Kingma & Dhariwal, 2018); with `Everything`
as its split it depends on nothing, as Glow's prior of the last scale.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtri

from gm_jax.flows.transform import Context, Transform, sum_of_example

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Standardise:
    """The kind of change y = (x − µ)·e^(−l), which maps N(µ, e^(2l)) to N(0, 1)."""

    num_parameters: ClassVar[int] = 2  # µ and l

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps x to y and −l."""
        mean, log_std = jnp.split(parameters, 2, -1)
        return (x - mean) * jnp.exp(-log_std), -log_std

    def inverse(self, y: Array, parameters: Array) -> tuple[Array, Array]:
        """Maps y to x and l."""
        mean, log_std = jnp.split(parameters, 2, -1)
        return mean + y * jnp.exp(log_std), log_std


@dataclasses.dataclass(frozen=True)
class Everything:
    """The split of [B, ..., C] that keeps nothing: the kept part has no channels."""

    def mask(self, shape: Sequence[int]) -> np.ndarray:
        """[C], of ones."""
        return np.ones(shape[-1], np.float32)

    def halves(self, x: Array) -> tuple[Array, Array]:
        """[B, ..., 0] and x."""
        return x[..., :0], x

    def join(self, kept: Array, changed: Array) -> Array:
        """[B, ..., C]."""
        del kept
        return changed


class LogisticPrior(Transform):
    """y = Φ⁻¹(σ(x)), which maps the standard logistic, NICE's prior for most data, to N(0, 1)."""

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x to y, at most 12.9 in magnitude, and ln|det ∂y/∂x| in nats [B].

        With the density of y it gives ln σ'(x) at any x.
        """
        del context
        tail = jnp.maximum(nn.sigmoid(-jnp.abs(x)), jnp.finfo(jnp.float32).tiny)
        y = -jnp.sign(x) * ndtri(tail)
        return y, _log_det(x, y)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y to x and ln|det ∂x/∂y| in nats [B]."""
        del context
        x = log_ndtr(y) - log_ndtr(-y)
        return x, -_log_det(x, y)


def _log_det(x: Array, y: Array) -> Array:
    """Σ ln σ'(x) − ln φ(y)."""
    log_slopes = 0.5 * y**2 + 0.5 * math.log(2 * math.pi) - nn.softplus(x) - nn.softplus(-x)
    return sum_of_example(log_slopes)
