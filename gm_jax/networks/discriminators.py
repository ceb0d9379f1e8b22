"""Discriminators of adaptive density estimation (Lucas et al., 2019, 5.1 and Table 6a).

Both may be conditioned by projection: the logit gains ⟨V_y, φ(x)⟩ (Miyato & Koyama, 2018).
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array


def project(features: Array, label: Array | None, num_classes: int | None) -> Array:
    """Logits [B] of features [B, F]: a dense unit, and the row of the label where there is one."""
    logits = nn.Dense(1)(features)[:, 0]
    if num_classes is None:
        return logits
    return logits + jnp.sum(nn.Embed(num_classes, features.shape[-1])(label) * features, axis=-1)


class ConvolutionalDiscriminator(nn.Module):
    """The CNN of SNGAN (Miyato et al., 2018, Table 3), without spectral normalisation.

    Attributes:
      widths: channels from the image's resolution on, each halves the resolution (64 … 512).
      slope: of the leaky ReLU.
      num_classes: of the projection, or None.
      dtype: of the convolutions.
    """

    widths: tuple[int, ...]
    slope: float
    num_classes: int | None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to the logits of "real", float32 [B]."""
        active = partial(nn.leaky_relu, negative_slope=self.slope)
        for width in self.widths[:-1]:
            x = active(nn.Conv(width, (3, 3), dtype=self.dtype)(x))
            x = active(nn.Conv(width, (4, 4), (2, 2), dtype=self.dtype)(x))
        x = active(nn.Conv(self.widths[-1], (3, 3), dtype=self.dtype)(x))
        return project(x.reshape(x.shape[0], -1).astype(jnp.float32), label, self.num_classes)


class ResidualDiscriminator(nn.Module):
    """Table 6a's discriminator: a convolution, residual blocks, average pool, a dense unit.

    Attributes:
      widths: of the first convolution, of a block at the image's resolution, and of blocks that
        halve it (16, 32, 64, 128, 256).
      num_classes: of the projection, or None.
      dtype: of the convolutions.
    """

    widths: tuple[int, ...]
    num_classes: int | None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to the logits of "real", float32 [B]."""
        conv = partial(nn.Conv, kernel_size=(3, 3), dtype=self.dtype)
        x = conv(self.widths[0])(x)
        for position, width in enumerate(self.widths[1:]):
            hidden = conv(width)(nn.relu(conv(width)(nn.relu(x))))
            x = nn.Conv(width, (1, 1), dtype=self.dtype)(x) + hidden
            if position:
                x = nn.avg_pool(x, (2, 2), (2, 2))
        pooled = jnp.mean(nn.relu(x).astype(jnp.float32), axis=(1, 2))
        return project(pooled, label, self.num_classes)


def create(config: Any, num_classes: int | None, dtype: Any) -> nn.Module:
    """Builds the discriminator of a config: `kind`, `widths` and, if convolutional, `slope`."""
    shared = {"widths": tuple(config.widths), "num_classes": num_classes, "dtype": dtype}
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
