"""Weight-normalised convolutions with data-dependent initialisation (Salimans & Kingma, 2016)."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class WeightNormConv(nn.Module):
    """Convolution with kernel g·V/‖V‖, the norm taken over each output channel.

    While the module initialises, g and b are set from the batch it sees so that its outputs have
    mean 0 and standard deviation `init_scale`, and those outputs are what the next layer sees.

    Attributes:
      features: output channels.
      kernel_size: height and width of the kernel.
      strides: of the output, or for a transposed convolution of the input.
      padding: as `jax.lax.conv_general_dilated` takes it.
      transpose: a transposed ("deconvolution") layer.
      init_scale: standard deviation of the outputs on the initialising batch.
      init_exponent: training starts from the gain (init_scale/std)^init_exponent. 1 is the exact
        initialisation; openai/iaf starts from 1/3 while passing on the exact outputs.
      exponential_gain: the gain is exp(g), not g.
      mask: 0/1 array that broadcasts to the kernel [h, w, in, out]; masked before the norm.
      dtype: of the convolution; parameters and the norm are float32.
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] = (1, 1)
    padding: Any = "SAME"
    transpose: bool = False
    init_scale: float = 1.0
    init_exponent: float = 1.0
    exponential_gain: bool = False
    mask: np.ndarray | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, in] to float32 [B, H', W', features]."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("v", nn.initializers.normal(0.05), shape)
        if self.mask is not None:
            kernel = kernel * self.mask
        kernel = kernel * jax.lax.rsqrt(jnp.sum(kernel**2, axis=(0, 1, 2)) + 1e-12)
        if self.is_initializing():
            return self._initialize(self._convolve(x, kernel))
        gain = self.param("g", nn.initializers.zeros, (self.features,))
        bias = self.param("b", nn.initializers.zeros, (self.features,))
        gain = jnp.exp(gain) if self.exponential_gain else gain
        return self._convolve(x, kernel * gain) + bias

    def _convolve(self, x: Array, kernel: Array) -> Array:
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        names = ("NHWC", "HWIO", "NHWC")
        if self.transpose:
            y = jax.lax.conv_transpose(x, kernel, self.strides, self.padding, None, names)
        else:
            y = jax.lax.conv_general_dilated(
                x, kernel, self.strides, self.padding, dimension_numbers=names
            )
        return y.astype(jnp.float32)

    def _initialize(self, outputs: Array) -> Array:
        axes = (0, 1, 2)
        mean = jnp.mean(outputs, axes)
        scale = self.init_scale * jax.lax.rsqrt(jnp.var(outputs, axes) + 1e-10)
        gain = jnp.log(scale) * self.init_exponent
        self.param("g", lambda _: gain if self.exponential_gain else jnp.exp(gain))
        self.param("b", lambda _: -mean * scale)
        return (outputs - mean) * scale


def num_parameters(tree: Any) -> int:
    """Returns how many numbers a tree of arrays (or of their shapes) holds."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
