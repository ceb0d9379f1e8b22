"""Glow: steps of actnorm, 1×1 convolution and coupling (Kingma & Dhariwal, 2018; openai/glow)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.actnorm import ActNorm
from gm_jax.flows.coupling import Additive, ChannelHalf, Coupling, Kind, SigmoidAffine
from gm_jax.flows.invertible_convolution import InvertibleConvolution, LuConvolution
from gm_jax.flows.priors import Everything, Standardise
from gm_jax.flows.reshape import FactorOut, Squeeze
from gm_jax.flows.transform import Chain, Context, Inverse, Transform
from gm_jax.networks.nice import DenseNetwork
from gm_jax.nn.weight_norm import NormalKernel, convolve

Array = jax.Array
CONVOLUTIONS: dict[str, list[type[Transform]]] = {
    "plain": [InvertibleConvolution],
    "lu": [LuConvolution],
    "none": [],  # the couplings change the second half and the first in turn
}
COUPLINGS: dict[str, Kind] = {"affine": SigmoidAffine(), "additive": Additive()}


class Conv(NormalKernel, nn.Module):
    """A convolution without bias. If its kernel is 3×3, it sees where the image ends.

    As in the authors' code, a further input channel is 1 outside the image and 0 inside. It is the
    same for every image, and so is convolved once. The middle of its kernel never meets a 1.

    Attributes:
      features: output channels.
      size: height and width of the kernel, 1 or 3.
      kernel_std: initial standard deviation of the kernel.
      dtype: dtype of the convolution; the outputs are float32.
    """

    features: int
    size: int
    kernel_std: float = 0.05
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, C] to [B, H, W, features]; C may be 0 if the kernel is 3×3."""
        *_, height, width, channels = x.shape
        outside = jnp.ones((1, height + 2, width + 2, 1)).at[:, 1:-1, 1:-1].set(0)
        shape = (self.size, self.size, channels + (self.size > 1), self.features)
        kernel = self.param("v", nn.initializers.normal(self.kernel_std), shape)
        y = jnp.zeros((*x.shape[:-1], self.features))
        if channels:
            y += convolve(x, kernel[:, :, :channels], (1, 1), "SAME", False, self.dtype)
        if self.size > 1:
            y += convolve(outside, kernel[:, :, channels:], (1, 1), "VALID", False, self.dtype)
        return y


class ZeroConv(nn.Module):
    """(conv(x) + b)·e^(3l) with a 3×3 convolution, b and l that all start at 0.

    Attributes:
      dtype: dtype of the convolution.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, outputs: int, context: Context) -> Array:
        """Maps [B, H, W, C] to float32 [B, H, W, outputs]; C may be 0."""
        del context
        bias, log_scale = (
            self.param(name, nn.initializers.zeros, (outputs,)) for name in ("bias", "log_scale")
        )
        return (Conv(outputs, 3, 0.0, self.dtype)(x) + bias) * jnp.exp(3 * log_scale)


class CouplingNetwork(nn.Module):
    """3×3 and 1×1 convolutions, each with actnorm and ReLU, and a 3×3 convolution that starts at 0.

    Attributes:
      features: channels of the hidden layers.
      dtype: dtype of the convolutions.
    """

    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, outputs: int, context: Context) -> Array:
        """Maps [B, H, W, C] to float32 [B, H, W, outputs]."""
        for size in (3, 1):
            x = Conv(self.features, size, dtype=self.dtype)(x)
            x = nn.relu(ActNorm().forward_and_log_det(x, context)[0])
        return ZeroConv(self.dtype)(x, outputs, context)


def glow(
    shape: tuple[int, ...],
    num_scales: int,
    num_steps: int,
    features: int,
    coupling: str,
    convolution: str,
    dtype: Any = jnp.float32,
) -> Chain:
    """The flow from images around 0, or points, to features of the same shape.

    A scale squeezes the image and takes its steps. Then half of the channels leaves with a prior
    N(µ, σ²) that is learned given the other half; the prior of the last scale knows only where the
    image ends. As these priors are layers, the features are N(0, I) at every scale. Points have one
    scale without squeezing, dense networks of two layers, and no learned prior.

    Args:
      shape: the shape of an example: (H, W, C) with H and W multiples of 2^num_scales, or (D,) with
        an even D.
      num_scales: L of the paper.
      num_steps: K, steps per scale.
      features: width of the couplings' networks (published: 512).
      coupling: a name in COUPLINGS.
      convolution: a name in CONVOLUTIONS.
      dtype: dtype of the networks' products; everything else is float32.

    Raises:
      ValueError: a name is unknown, or the images do not fit.
    """
    for field, name, table in (
        ("coupling", coupling, COUPLINGS),
        ("convolution", convolution, CONVOLUTIONS),
    ):
        if name not in table:
            raise ValueError(f"model.network.{field} is '{name}'; choose among {', '.join(table)}")
    second = ChannelHalf(1)  # the first half conditions it

    mixed = bool(CONVOLUTIONS[convolution])

    def steps(network: Any) -> list[Transform]:
        return [
            layer
            for step in range(num_steps)
            for layer in (
                ActNorm(),
                *(mix() for mix in CONVOLUTIONS[convolution]),
                Coupling(
                    second if mixed else ChannelHalf(1 - step % 2),
                    network(),
                    COUPLINGS[coupling],
                ),
            )
        ]

    if len(shape) == 1:
        if num_scales != 1:
            raise ValueError(f"model.network.num_scales is {num_scales}, and points have 1 scale")
        dense = nn.initializers.he_normal(), nn.initializers.zeros
        return Chain(steps(lambda: DenseNetwork((features, features), *dense, dtype)))
    height, width, _ = shape
    if num_scales < 1 or height % 2**num_scales or width % 2**num_scales:
        raise ValueError(
            f"images of {height}×{width} pixels do not fit {num_scales} scales: height and width "
            f"must be multiples of {2**num_scales}; lower model.network.num_scales, or set "
            "data.resize"
        )

    def scales(count: int) -> Chain:
        """The last `count` scales."""
        inner = steps(lambda: CouplingNetwork(features, dtype))
        prior = Coupling(Everything() if count == 1 else second, ZeroConv(dtype), Standardise())
        rest = [] if count == 1 else [FactorOut(second, scales(count - 1))]
        return Chain((Squeeze(), *inner, prior, *rest, Inverse(Squeeze())))

    return scales(num_scales)
