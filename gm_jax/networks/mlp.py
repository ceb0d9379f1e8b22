"""A multilayer perceptron, for points, codes and their critics."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.nn import batch_features
from gm_jax.nn.batch_norm import BatchNorm
from gm_jax.nn.layers import PLAIN, Layers

Array = jax.Array


class Mlp(nn.Module):
    """Dense layers, each but the last followed by a nonlinearity.

    Attributes:
      widths: widths of the hidden layers; () gives a linear map.
      outputs: width of the last layer; None for one unit without its axis, as critics have.
      activation: the nonlinearity.
      num_classes: number of classes of a label, which is appended as a one-hot vector, or None.
      batch_features: one of `nn.batch_features.KINDS`, appended before the last layer.
      layers: the kind of layers that it uses.
      batch_norm: whether all hidden layers but the first are normalised, without a learned scale.
      dtype: dtype of the products; the outputs are float32.
    """

    widths: tuple[int, ...]
    outputs: int | None
    activation: Callable[[Array], Array] = nn.relu
    num_classes: int | None = None
    batch_features: str = "none"
    layers: Layers = PLAIN
    batch_norm: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None, train: bool = False) -> Array:
        """Flattens [B, ...] to [B, D], and maps it to float32 [B, outputs], or [B].

        In training batch norm takes the global batch, and `batch_stats` must be mutable.
        """
        x = x.reshape(x.shape[0], -1)
        if self.num_classes is not None:
            assert label is not None  # there are classes
            x = jnp.concatenate([x, jax.nn.one_hot(label, self.num_classes, dtype=x.dtype)], -1)
        for position, width in enumerate(self.widths):
            normalized = self.batch_norm and position > 0
            # Batch norm undoes a bias, and adds its own.
            x = self.layers.dense(width, use_bias=not normalized, dtype=self.dtype)(x)
            x = self.activation(BatchNorm(0.9, 1e-5)(x, train) if normalized else x)
        x = batch_features.append(self.batch_features, x)
        x = self.layers.dense(self.outputs or 1, dtype=self.dtype)(x).astype(jnp.float32)
        return x[:, 0] if self.outputs is None else x
