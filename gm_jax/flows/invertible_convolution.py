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
    is refused; inside `jit` the log-determinant is not finite, and training skips the update.
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
    """W = P·L·(U + diag(s)), whose log-determinant is Σ ln|s| (Eqs. 10 and 11).

    L has ones on its diagonal, U has zeros. What is learned is L and U off their diagonals and
    ln|s|: C² numbers, as many as W has. The permutation P and the signs of s stay as they start,
    so W never becomes singular.
    """

    @nn.compact
    def _weights(self, channels: int, inverse: bool) -> tuple[Array, Array, Array]:
        below = np.tril_indices(channels, -1)
        packed, place = jnp.eye(channels), jnp.arange(channels)
        if self.is_initializing():  # one rotation for all that follows
            rotation = _rotation(self.make_rng("params"), (channels, channels))
            packed, _, order = jax.lax.linalg.lu(rotation)
            place = jnp.argsort(order)  # rotation[order] is L·U
        s = jnp.diag(packed)
        place = self.variable("constants", "place", lambda: place).value
        sign = self.variable("constants", "sign", lambda: jnp.sign(s)).value
        log_scale = self.param("log_scale", lambda _: jnp.log(jnp.abs(s)))
        lower = self.param("lower", lambda _: packed[below])
        upper = self.param("upper", lambda _: packed.T[below])
        left = jnp.eye(channels).at[below].set(lower)
        right = jnp.diag(sign * jnp.exp(log_scale)).at[below[::-1]].set(upper)
        kernel = jnp.matmul(left, right, precision="highest")[place]
        log_det = jnp.sum(log_scale)
        if not inverse:
            return kernel, log_det, kernel
        permuted = solve_triangular(left, jnp.eye(channels)[place].T, lower=True)
        return kernel, log_det, solve_triangular(right, permuted)


def _of_example(log_det: Array, x: Array) -> Array:
    """The log-determinant of an example [..., C], in all positions together, for all: [B]."""
    return jnp.full(x.shape[0], log_det * math.prod(x.shape[1:-1]))
