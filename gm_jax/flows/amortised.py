"""Parameters of a flow's layer: its own and, given a condition, what an encoder makes of them."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.transform import Context

Array = jax.Array


class Amortised(nn.Module):
    """θ + W·c: a vector θ of the layer and, given the context's condition c, a linear map of it.

    An encoder gives its features as c, and so the parameters of each layer for each example
    (Rezende & Mohamed, 2015, Fig. 2). W starts at 0: before training no condition matters.

    Attributes:
      init: initialises θ.
    """

    init: Any = nn.initializers.zeros

    @nn.compact
    def __call__(self, size: int, context: Context) -> Array:
        """Returns the parameters, float32 [size], or [B, size] for a condition [B, F]."""
        own: Array = self.param("own", self.init, (size,))
        if context.condition is None:
            return own
        shape = (context.condition.shape[-1], size)
        weights = self.param("of_condition", nn.initializers.zeros, shape)
        return own + jnp.matmul(context.condition, weights, precision="highest")


def positive(x: Array) -> Array:
    """softplus(x + ln(e − 1)): above 0, and 1 at x = 0."""
    return nn.softplus(x + math.log(math.e - 1))
