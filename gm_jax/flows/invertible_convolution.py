"""Invertible 1×1 convolutions, which mix the channels (Kingma & Dhariwal, 2018, §3.2)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from gm_jax.flows.transform import Context, Transform, is_known

Array = jax.Array
_rotation = nn.initializers.orthogonal()


class InvertibleConvolution(Transform):
    """y = x·W at every position, with a matrix W of all channels that starts as a random rotation.

    On points it is a linear map. Its products are exact in float32 whatever the page's
    `matmul_dtype`: the inverse has to undo them. A singular W has no inverse: where W is known it
    is refused; inside `jit` the log-determinant is not finite, which ends a run.
    """

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, ..., C] to y and ln|det ∂y/∂x|, ln|det W| times the positions, [B]."""
        del context
        kernel, log_det, _ = self._weights(x.shape[-1], inverse=False)
        return jnp.matmul(x, kernel, precision="highest"), _of_example(log_det, x)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, ..., C] to x and ln|det ∂x/∂y| in nats [B]."""
        del context
        _, log_det, inverse = self._weights(y.shape[-1], inverse=True)
        return jnp.matmul(y, inverse, precision="highest"), -_of_example(log_det, y)

    @nn.compact
    def _weights(self, channels: int, inverse: bool) -> tuple[Array, Array, Array]:
        """W, ln|det W|, and W⁻¹ if it is asked for (else W), both [C, C]."""
        kernel = self.param("kernel", _rotation, (channels, channels))
        if is_known(kernel) and np.linalg.cond(kernel) > 1 / np.finfo(np.float32).eps:
            raise ValueError(
                f"an invertible convolution has a singular kernel, {channels}×{channels}; lower "
                "optimizer.learning_rate or raise optimizer.warmup_steps, or keep it regular by "
                "model.network.convolution=lu"
            )
        # The authors take the determinant in float64; the sum of the pivots' logarithms neither
        # overflows nor loses more than float32 does.
        log_det = jnp.linalg.slogdet(kernel)[1]
        return kernel, log_det, jnp.linalg.inv(kernel) if inverse else kernel


class LuConvolution(InvertibleConvolution):
    """W = L·(U + diag(s)), whose log-determinant is Σ ln s (Eqs. 10 and 11, with P = I).

    L has ones on its diagonal, and U zeros. What is learned is L and U off their diagonals and
    ln s: C² numbers, as many as W has, and W stays regular. The paper has a fixed permutation P in
    front, and fixed signs of s. Here the rows of the random rotation are put in the order of its
    pivots, and its columns are turned, so that it has P = I and s > 0 from the start.
    """

    @nn.compact
    def _weights(self, channels: int, inverse: bool) -> tuple[Array, Array, Array]:
        below = np.tril_indices(channels, -1)
        packed = jnp.eye(channels)
        if self.is_initializing():  # one rotation for all parameters
            rotation = _rotation(self.make_rng("params"), (channels, channels))
            packed, _, _ = jax.lax.linalg.lu(rotation)
        pivots = jnp.diag(packed)
        lower = self.param("lower", lambda _: packed[below])
        upper = self.param("upper", lambda _: (packed * jnp.sign(pivots)).T[below])
        log_scale = self.param("log_scale", lambda _: jnp.log(jnp.abs(pivots)))
        left = jnp.eye(channels).at[below].set(lower)
        right = jnp.diag(jnp.exp(log_scale)).at[below[::-1]].set(upper)
        kernel, log_det = jnp.matmul(left, right, precision="highest"), jnp.sum(log_scale)
        if not inverse:
            return kernel, log_det, kernel
        undone = solve_triangular(left, jnp.eye(channels), lower=True)
        return kernel, log_det, solve_triangular(right, undone)


def _of_example(log_det: Array, x: Array) -> Array:
    """The log-determinant of an example [..., C], in all positions together, for all: [B]."""
    return jnp.full(x.shape[0], log_det * math.prod(x.shape[1:-1]))
