"""A multilayer perceptron, for points, codes and their critics."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.nn.layers import PLAIN, Layers

Array = jax.Array


class Mlp(nn.Module):
    """Dense layers, each but the last followed by a nonlinearity.

    Attributes:
      widths: widths of the hidden layers; () gives a linear map.
      outputs: width of the last layer.
      activation: the nonlinearity.
      layers: the kind of layers that it uses.
      dtype: dtype of the products; the outputs are float32.
    """

    widths: tuple[int, ...]
    outputs: int
    activation: Callable[[Array], Array] = nn.relu
    layers: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Flattens [B, ...] to [B, D], and maps it to float32 [B, outputs]."""
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = self.activation(self.layers.dense(width, dtype=self.dtype)(x))
        return self.layers.dense(self.outputs, dtype=self.dtype)(x).astype(jnp.float32)
