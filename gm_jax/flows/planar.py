"""Planar flow: a layer that moves points along one direction (Rezende & Mohamed, 2015, Eq. 10)."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from gm_jax.flows.amortised import Amortised, positive
from gm_jax.flows.bisection import increasing_root
from gm_jax.flows.transform import Context, Transform

Array = jax.Array
TINY = 1e-12  # a length of w below 1e-6 moves nothing by more than rounding


class Planar(Transform):
    """y = x + û·tanh(wᵀx + b) for vectors x [B, D], with û such that wᵀû > −1 (appendix A.1).

    û = u + (softplus(wᵀu + ln(e − 1)) − 1 − wᵀu)·w/‖w‖². The paper has no ln(e − 1), which means
    that its u is ours plus ln(e − 1)·w/‖w‖². With it the layer is the identity at u = 0, where it
    starts, and û stays finite as w goes to 0.

    u, w and b are the layer's own, or linear in the context's condition (`Amortised`): 2D + 1.
    """

    def setup(self) -> None:
        self.u = Amortised()
        self.w = Amortised(_about_unit_length)
        self.b = Amortised()

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x to y and ln|det ∂y/∂x| = ln(1 + wᵀû·(1 − tanh²)) in nats [B]."""
        u, slope, w, b = self._parameters(x, context)
        moved = jnp.tanh(jnp.sum(w * x, -1) + b)
        return x + u * moved[:, None], _log_det(moved, slope)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y to x and ln|det ∂x/∂y| in nats [B].

        a = wᵀx is the root of a + wᵀû·tanh(a + b) = wᵀy, which increases in a: |a − wᵀy| ≤ |wᵀû|.
        """
        u, slope, w, b = self._parameters(y, context)
        target = jnp.sum(w * y, -1)
        step = slope - 1  # wᵀû
        along = increasing_root(lambda a: a + step * jnp.tanh(a + b) - target, target, abs(step))
        moved = jnp.tanh(along + b)
        return y - u * moved[:, None], -_log_det(moved, slope)

    def _parameters(self, x: Array, context: Context) -> tuple[Array, Array, Array, Array]:
        """û, 1 + wᵀû (which is positive), w and b."""
        size = x.shape[-1]
        u, w = self.u(size, context), self.w(size, context)
        along = jnp.sum(w * u, -1, keepdims=True)
        slope = positive(along)
        squares = jnp.maximum(jnp.sum(w**2, -1, keepdims=True), TINY)
        u += (slope - 1 - along) * w / squares
        return u, slope[..., 0], w, self.b(1, context)[..., 0]


def _log_det(moved: Array, slope: Array) -> Array:
    """ln(1 + (slope − 1)·(1 − moved²)), written as the logarithm of a sum of positive numbers."""
    return jnp.log(moved**2 + slope * (1 - moved**2))


def _about_unit_length(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return jax.random.normal(key, shape, dtype) / math.sqrt(shape[-1])
