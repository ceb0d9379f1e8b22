"""VQ-VAE's encoder and decoder (van den Oord et al., 2017, section 4.1)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array


class Residual(nn.Module):
    """x + conv1×1(ReLU(conv3×3(ReLU(x)))).

    Attributes:
      features: channels inside.
      dtype: dtype of the convolutions.
    """

    features: int
    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, F] to the same."""
        h = nn.Conv(self.features, (3, 3), dtype=self.dtype)(nn.relu(x))
        return x + nn.Conv(x.shape[-1], (1, 1), dtype=self.dtype)(nn.relu(h))


class Encoder(nn.Module):
    """Strided 4×4 convolutions, residual blocks, and a 1×1 convolution to the outputs.

    Attributes:
      code_features: D, channels of the outputs.
      num_halvings: strided convolutions.
      num_blocks: residual blocks.
      features: channels of all layers.
      residual_features: channels inside the blocks.
      dtype: dtype of the convolutions.
    """

    code_features: int
    num_halvings: int
    num_blocks: int
    features: int
    residual_features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to float32 [B, H/2^n, W/2^n, D].

        Raises:
          ValueError: the halvings do not divide the image.
        """
        factor = 2**self.num_halvings
        if x.shape[1] % factor or x.shape[2] % factor:
            raise ValueError(
                f"images of {x.shape[1]}×{x.shape[2]} pixels: model.network.num_halvings is "
                f"{self.num_halvings}, so sides are multiples of {factor}; set data.resize to one, "
                "or lower num_halvings"
            )
        conv = partial(nn.Conv, self.features, dtype=self.dtype)
        for _ in range(self.num_halvings):
            x = nn.relu(conv((4, 4), (2, 2))(x))
        x = conv((3, 3))(x)
        for _ in range(self.num_blocks):
            x = Residual(self.residual_features, self.dtype)(x)
        outputs = nn.Conv(self.code_features, (1, 1), dtype=self.dtype)(nn.relu(x))
        return outputs.astype(jnp.float32)


class Decoder(nn.Module):
    """The encoder backwards.

    Attributes:
      outputs: channels of the outputs.
      num_halvings, num_blocks, features, residual_features, dtype: as for the encoder.
    """

    outputs: int
    num_halvings: int
    num_blocks: int
    features: int
    residual_features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array) -> Array:
        """Maps vectors of codes [B, h, w, D] to float32 [B, h·2^n, w·2^n, outputs]."""
        x = nn.Conv(self.features, (3, 3), dtype=self.dtype)(z)
        for _ in range(self.num_blocks):
            x = Residual(self.residual_features, self.dtype)(x)
        for _ in range(self.num_halvings):
            x = nn.ConvTranspose(self.features, (4, 4), (2, 2), dtype=self.dtype)(nn.relu(x))
        return nn.Conv(self.outputs, (3, 3), dtype=self.dtype)(nn.relu(x)).astype(jnp.float32)
