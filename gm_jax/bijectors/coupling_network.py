"""The residual network behind a coupling's shift and scale (Dinh et al., 2017, §3.3 and code)."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.nn.batch_norm import BatchNorm
from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array


class CouplingNetwork(nn.Module):
    """Maps the kept dimensions to what changes the others: [B, H, W, C] to [B, H, W, outputs].

    relu[x, −x, mask] of the normalised input, a 3×3 convolution, residual blocks of two; a 1×1 skip
    from the stem and from every block, whose sum goes to the outputs. All is weight-normalised,
    with a learned gain only where no batch norm follows that would undo it. The outputs alone have
    biases: the authors' code has them on all these layers but one, where the batch norms behind
    undo them; their gradient is rounding noise, which Adam would turn into full steps. As in that
    code the layers are not initialised on data: batch norm already standardises what they see.

    Attributes:
      features: of every hidden layer.
      num_blocks: residual blocks.
      outputs: channels out.
      batch_norm_decay, batch_norm_epsilon: of `BatchNorm`.
      dtype: of the convolutions.
    """

    features: int
    num_blocks: int
    outputs: int
    batch_norm_decay: float
    batch_norm_epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, kept: np.ndarray | None, train: bool) -> Array:
        """Maps x [B, H, W, C] to float32 [B, H, W, outputs].

        Args:
          x: the dimensions that the coupling keeps, 0 at the others.
          kept: [H, W, 1], 1 at the kept pixels; None where every pixel of x is kept.
          train: of `BatchNorm`.
        """

        def norm(h: Array) -> Array:
            return BatchNorm(self.batch_norm_decay, self.batch_norm_epsilon)(h, train)

        h = norm(x)
        signed = [h, -h]
        if kept is not None:  # half of the pixels are zero: ×2
            mask = jnp.broadcast_to(kept, (*x.shape[:-1], 1))
            signed = [2 * h, -2 * h, mask]
        h = self._conv(nn.relu(jnp.concatenate(signed, -1)), 3, use_gain=False)
        skips = self._conv(h, 1)
        for _ in range(self.num_blocks):
            update = self._conv(nn.relu(norm(h)), 3, use_gain=False)
            h = h + self._conv(nn.relu(norm(update)), 3)
            skips = skips + self._conv(h, 1)
        return self._conv(nn.relu(norm(skips)), 1, self.outputs, use_bias=True)

    def _conv(
        self,
        x: Array,
        size: int,
        features: int | None = None,
        use_gain: bool = True,
        use_bias: bool = False,
    ) -> Array:
        return WeightNormConv(
            features or self.features,
            (size, size),
            # Published: V ~ U(±√(2/channels in)), here of the same variance. Its length, normalised
            # away, sets the rate of learning.
            kernel_std=math.sqrt(2 / (3 * x.shape[-1])),
            # Published: the standard deviation of the kernel before it is normalised, by fan-in.
            init_gain=size / math.sqrt(6),
            dtype=self.dtype,
            use_gain=use_gain,
            use_bias=use_bias,
        )(x)
