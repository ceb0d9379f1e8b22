"""The convolutional classifier of α-GAN (Rosca et al., 2017), appendix H.5, table 5."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import devices
from gm_jax.nn.batch_norm import share_of_old

Array = jax.Array


class ClassifierOutputs(NamedTuple):
    """features: float32 [B, channels], pooled over space; logits: float32 [B, classes]."""

    features: Array
    logits: Array


class ConvolutionalClassifier(nn.Module):
    """3×3 convolutions, each with batch norm and ReLU; average pooling; a linear layer.

    Attributes:
      num_classes: number of logits.
      layers: (feature maps, stride) of each convolution.
      batch_norm_decay: decay of the running averages that evaluation uses.
      dtype: dtype of the convolutions; statistics and the linear layer are float32.
    """

    num_classes: int
    layers: Sequence[tuple[int, int]]
    batch_norm_decay: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> ClassifierOutputs:
        """Maps x float [B, H, W, C] in [−1, 1] to features and logits.

        In training it normalises with the global batch, and `batch_stats` must be mutable.
        """
        for features, stride in self.layers:
            x = nn.Conv(
                features,
                (3, 3),
                stride,
                use_bias=False,
                kernel_init=nn.initializers.he_normal(),
                dtype=self.dtype,
            )(x)
            x = nn.BatchNorm(
                use_running_average=not train,
                momentum=share_of_old(self.batch_norm_decay),
                axis_name=devices.bound_axis() if train else None,
            )(x.astype(jnp.float32))
            x = nn.relu(x)
        pooled = jnp.mean(x, (1, 2))
        return ClassifierOutputs(pooled, nn.Dense(self.num_classes)(pooled))
