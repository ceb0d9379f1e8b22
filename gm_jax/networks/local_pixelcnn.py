"""A PixelCNN whose view is a window of rows and columns (Chen et al., 2017, section 2.3).

What the window does not show, the latents have to tell.
"""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.distributions import num_mixture_parameters
from gm_jax.networks.pixelcnn import GatedResnet, PixelCNN
from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array


class LocalPixelCNN(PixelCNN, kw_only=True):
    """One masked convolution of the image, and gated resnets of 1×1 convolutions.

    Attributes:
      window: (rows, columns). A pixel sees `columns` pixels in each of the `rows` rows above it,
        ⌊columns/2⌋ of them to its left, and as many to its left in its own row.
      num_scales: 1.
      num_blocks: half the number of gated resnets, as in a PixelCNN of one scale.

    The others are as for `PixelCNN`.
    """

    window: tuple[int, int]

    @nn.compact
    def __call__(
        self,
        x: Array,
        index: Array,
        conditions: list[tuple[Array, ...]] | None = None,
        train: bool = False,
    ) -> Array:
        """Returns what a `PixelCNN` returns; a layer's condition is one array, not a pair.

        Raises:
          ValueError: there are several scales, or the window is empty.
        """
        rows, columns = self.window
        if self.num_scales != 1 or columns < 1 or (rows, columns) == (0, 1):
            raise ValueError(
                f"model.window is {self.window} and model.pixelcnn.num_scales {self.num_scales}: a "
                "window has one scale and at least a row above or two columns; a decoder that sees "
                "no pixel is that of configs/vae.py"
            )
        options: dict[str, Any] = {"kernel_std": self.kernel_std, "dtype": self.dtype}
        left, channels = columns // 2, x.shape[-1]
        mask = np.ones((rows + 1, columns, 1, 1), np.float32)
        mask[rows, left:] = 0
        # A channel of ones tells the network where the image ends.
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1.0)
        padding = ((rows, 0), (left, columns - 1 - left))
        size = (rows + 1, columns)
        h = WeightNormConv(self.features, size, padding=padding, mask=mask, **options)(x)
        for layer in range(2 * self.num_blocks):
            h = GatedResnet(
                partial(WeightNormConv, kernel_size=(1, 1)),
                dropout_rate=self.dropout_rate,
                gate_init_scale=self.gate_init_scale,
                **options,
            )(h, None, None if conditions is None else conditions[layer][0], index, train)
        outputs = num_mixture_parameters(self.num_mixtures, channels) or channels
        return WeightNormConv(outputs, (1, 1), **options)(nn.elu(h))
