"""Discriminators of adaptive density estimation (Lucas et al., 2019, 5.1 and Table 6a).

The convolutional one is SNGAN's, with plain layers unless the config asks for others. Both can be
conditioned by projection.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.networks.sngan import ConvolutionalDiscriminator, project
from gm_jax.nn.layers import PLAIN, Layers

Array = jax.Array


class ResidualDiscriminator(nn.Module):
    """Table 6a's discriminator: a convolution, residual blocks, average pooling, a dense unit.

    SNGAN's discriminator cannot be configured to this: it starts with a block, halves from there
    on, and pools by the sum.

    Attributes:
      widths: widths of the first convolution, of a block at the image's resolution, and of the
        blocks that halve it (16, 32, 64, 128, 256).
      num_classes: number of classes of the projection, or None.
      layers: the kind of layers that it uses.
      dtype: dtype of the convolutions.
    """

    widths: tuple[int, ...]
    num_classes: int | None
    layers: Layers = PLAIN
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to the logits of "real", float32 [B]."""
        conv = partial(self.layers.conv, kernel_size=(3, 3), dtype=self.dtype)
        x = conv(self.widths[0])(x)
        for position, width in enumerate(self.widths[1:]):
            hidden = conv(width)(nn.relu(conv(width)(nn.relu(x))))
            x = self.layers.conv(width, (1, 1), dtype=self.dtype)(x) + hidden
            if position:
                x = nn.avg_pool(x, (2, 2), (2, 2))
        pooled = jnp.mean(nn.relu(x).astype(jnp.float32), axis=(1, 2))
        return project(pooled, label, self.num_classes, self.layers)


def create(config: Any, num_classes: int | None, dtype: Any, layers: Layers = PLAIN) -> nn.Module:
    """Builds a discriminator from a config's `kind`, `widths` and, if convolutional, `slope`."""
    shared = {
        "widths": tuple(config.widths),
        "num_classes": num_classes,
        "layers": layers,
        "dtype": dtype,
    }
    if config.kind == "convolutional":
        if "slope" not in config:
            raise ValueError(
                "model.discriminator.kind is 'convolutional', without a slope of its leaky ReLU; "
                "leave out the refinement rd"
            )
        return ConvolutionalDiscriminator(slope=config.slope, **shared)
    if config.kind == "residual":
        return ResidualDiscriminator(**shared)
    raise ValueError(
        f"model.discriminator.kind is '{config.kind}'; choose among convolutional, residual"
    )
