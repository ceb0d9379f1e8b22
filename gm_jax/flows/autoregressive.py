"""Inverse autoregressive flow for vectors (Kingma et al., 2016; thesis 2.10.3).

For images of latents see `networks/inverse_autoregressive_flow.py`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.flows.coupling import Kind
from gm_jax.flows.transform import Context, Transform, sum_of_example

Array = jax.Array


class MaskedDense(nn.Module):
    """A dense layer whose kernel is multiplied by a mask of zeros and ones, [inputs, outputs]."""

    mask: np.ndarray
    kernel_init: Any = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, inputs] to [B, outputs]."""
        kernel = self.param("kernel", self.kernel_init, self.mask.shape)
        bias = self.param("bias", nn.initializers.zeros, self.mask.shape[-1:])
        return jnp.matmul(x, kernel * self.mask, precision="highest") + bias


class AutoregressiveNetwork(nn.Module):
    """Parameters of each dimension from those before it: a MADE (Germain et al., 2015).

    Hidden unit j sees the first j mod D dimensions. Those that see none pass on the condition. The
    last layer starts at 0, with which an affine flow is the identity.

    Attributes:
      widths: units of the hidden layers.
      backwards: whether the order of the dimensions is from the last to the first.
    """

    widths: tuple[int, ...]
    backwards: bool = False

    @nn.compact
    def __call__(self, x: Array, num_parameters: int, context: Context) -> Array:
        """Maps [B, D] to [B, num_parameters·D]: the first parameter of all dimensions comes first.

        A condition, [B, F], is added to the first hidden layer by a linear map.
        """
        size = x.shape[-1]
        place = np.arange(size)[:: -1 if self.backwards else 1]
        known, h = place + 1, x  # how many dimensions one must be allowed to see, to see a unit
        for layer, width in enumerate(self.widths):
            allowed = np.arange(width) % size
            h = MaskedDense(_mask(known, allowed))(h)
            if layer == 0 and context.condition is not None:
                h += nn.Dense(width, use_bias=False, precision="highest")(context.condition)
            known, h = allowed, nn.elu(h)
        mask = _mask(known, np.tile(place, num_parameters))
        return MaskedDense(mask, kernel_init=nn.initializers.zeros)(h)


class Autoregressive(Transform):
    """y_i = g(x_i; parameters from x_1 … x_{i−1}): the Jacobian is triangular.

    With the affine kind this is z₁ = µ₁(z₀) + σ₁(z₀)·z₀ of Eq. 2.60. The forward direction takes
    one pass of the network, which suits a posterior; the inverse takes as many as there are
    dimensions.

    Attributes:
      network: the parameters.
      kind: how they change a dimension.
    """

    network: AutoregressiveNetwork
    kind: Kind

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, D] to y and ln|det ∂y/∂x| in nats [B]."""
        y, slopes = self.kind.forward(x, self._parameters(x, context))
        return y, sum_of_example(slopes)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, D] to x and ln|det ∂x/∂y| in nats [B].

        After k passes the first k dimensions of x are right, and so are the parameters of the next.
        """

        def improve(_: int, found: tuple[Array, Array]) -> tuple[Array, Array]:
            return self.kind.inverse(y, self._parameters(found[0], context))

        zeros = jnp.zeros_like(y)
        # A loop, as unrolled passes would take minutes to compile for the dimensions of an image.
        x, slopes = jax.lax.fori_loop(0, y.shape[-1], improve, (zeros, zeros))
        return x, sum_of_example(slopes)

    def _parameters(self, x: Array, context: Context) -> Array:
        return self.network(x, self.kind.num_parameters, context)


def _mask(known: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """1 where a unit that knows so many dimensions may be seen by one that is allowed so many."""
    return (known[:, None] <= allowed).astype(np.float32)
