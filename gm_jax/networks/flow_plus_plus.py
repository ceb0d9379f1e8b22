"""Flow++: couplings by mixture CDFs with attention, and its dequantiser (Ho et al., 2019)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.dequantization import Interval
from gm_jax.flows.actnorm import ActNorm
from gm_jax.flows.coupling import ChannelHalf, Columns, Coupling
from gm_jax.flows.dequantise import Logit
from gm_jax.flows.invertible_convolution import InvertibleConvolution
from gm_jax.flows.mixture_cdf import MixtureCdf
from gm_jax.flows.reshape import FactorOut, OrderedSqueeze
from gm_jax.flows.transform import Chain, Context, Inverse, Transform
from gm_jax.flows.variational_dequantisation import VariationalDequantise
from gm_jax.networks.nice import DenseNetwork
from gm_jax.nn.activations import concat_elu
from gm_jax.nn.noise import Dropout
from gm_jax.nn.weight_norm import NormalKernel, convolve, is_data_dependent_init

Array = jax.Array


class Conv(NormalKernel, nn.Module):
    """A convolution that `data_dependent_init` scales to outputs of mean 0 and a given deviation.

    Attributes:
      features: output channels.
      size: height and width of the kernel.
      init_scale: the deviation of the outputs on the initialising batch.
      kernel_std: that of the kernel before.
      dtype: dtype of the convolution; the outputs are float32.
    """

    features: int
    size: int = 1
    init_scale: float = 1.0
    kernel_std: float = 0.05
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, C] to [B, H, W, features]."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("v", nn.initializers.normal(self.kernel_std), shape)
        bias = self.param("b", nn.initializers.zeros, (self.features,))
        y = convolve(x, kernel, (1, 1), "SAME", False, self.dtype)
        if is_data_dependent_init(self):
            scale = self.init_scale * jax.lax.rsqrt(jnp.var(y, (0, 1, 2)) + 1e-8)
            bias = -jnp.mean(y, (0, 1, 2)) * scale
            self.put_variable("params", "v", kernel * scale)
            self.put_variable("params", "b", bias)
            return y * scale + bias
        return y + bias


class Gated(nn.Module):
    """What the gated layers share: x + a·σ(b), with a and b from dropped-out features.

    Attributes:
      dropout_rate: share of the features that are dropped in training.
      dtype: dtype of the convolutions.
    """

    dropout_rate: float
    dtype: Any

    def gate(self, x: Array, h: Array, size: int, context: Context) -> Array:
        """x + a·σ(b) with (a, b) a convolution of h."""
        if context.train:
            assert context.noise is not None  # training has noise
            h = Dropout(self.dropout_rate)(h, context.noise.index, True)
        a, b = jnp.split(Conv(2 * x.shape[-1], size, 0.1, dtype=self.dtype)(h), 2, -1)
        return x + a * nn.sigmoid(b)


class GatedConvolution(Gated):
    """A 3×3 convolution, to which the condition is added, and a gate of `gate_size`.

    Attributes:
      gate_size: side of the gate's kernel.
    """

    gate_size: int = 1

    @nn.compact
    def __call__(self, x: Array, condition: Array | None, context: Context) -> Array:
        """Maps x [B, H, W, C], given a condition [B, H, W, F] or None, to the same shape."""
        h = Conv(x.shape[-1], 3, dtype=self.dtype)(concat_elu(x))
        if condition is not None:
            h += Conv(x.shape[-1], dtype=self.dtype)(concat_elu(condition))
        return self.gate(x, concat_elu(h), self.gate_size, context)


class GatedAttention(Gated):
    """Every position looks at all others, and a gate.

    Attributes:
      num_heads: number of heads, which divides the channels.
    """

    num_heads: int = 1

    @nn.compact
    def __call__(self, x: Array, positions: Array, context: Context) -> Array:
        """Maps x [B, H, W, C] and embeddings of the positions [H, W, C] to the shape of x."""
        *outer, channels = x.shape
        h = Conv(3 * channels, dtype=self.dtype)(x + positions).astype(self.dtype)
        shape = (x.shape[0], -1, 3, self.num_heads, channels // self.num_heads)
        query, key, value = jnp.moveaxis(h.reshape(shape), 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key).astype(jnp.float32)
        weights = nn.softmax(scores / np.sqrt(shape[-1])).astype(self.dtype)
        seen = jnp.einsum("bhqk,bkhd->bqhd", weights, value).astype(jnp.float32)
        return self.gate(x, seen.reshape(*outer, channels), 1, context)


class CouplingNetwork(nn.Module):
    """Blocks of a gated convolution and gated attention, each with layer norm.

    Attributes:
      features: channels of the hidden layers.
      num_blocks, num_heads, dropout_rate: of the blocks.
      dtype: dtype of the convolutions.
    """

    features: int
    num_blocks: int
    num_heads: int
    dropout_rate: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, outputs: int, context: Context) -> Array:
        """Maps [B, H, W, C] and the context's condition to float32 [B, H, W, outputs]."""
        shape = (*x.shape[1:3], self.features)
        positions = self.param("positions", nn.initializers.normal(0.01), shape)
        gated = (self.dropout_rate, self.dtype)
        h = Conv(self.features, 3, dtype=self.dtype)(x)
        for _ in range(self.num_blocks):
            h = GatedConvolution(*gated)(h, context.condition, context)
            h = nn.LayerNorm(epsilon=1e-5)(h)
            h = GatedAttention(*gated, num_heads=self.num_heads)(h, positions, context)
            h = nn.LayerNorm(epsilon=1e-5)(h)
        return Conv(outputs, 3, 0.1, dtype=self.dtype)(h)


class ConditionNetwork(nn.Module):
    """What the dequantiser knows of an image: gated convolutions of its even and odd columns.

    Attributes:
      features: channels.
      dropout_rate: of the gated convolutions.
      dtype: dtype of the convolutions.
    """

    features: int
    dropout_rate: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, context: Context) -> Array:
        """Maps images around 0, [B, H, W, C], to [B, H, W/2, features]."""
        h = Conv(self.features, 3, dtype=self.dtype)(jnp.concatenate(Columns(1).halves(x), -1))
        for _ in range(3):
            h = GatedConvolution(self.dropout_rate, self.dtype, gate_size=3)(h, None, context)
        return h


def steps(
    split: type[Columns] | type[ChannelHalf],
    count: int,
    num_mixtures: int,
    features: int,
    num_blocks: int,
    num_heads: int,
    dropout_rate: float,
    dtype: Any,
) -> list[Transform]:
    """Steps of actnorm, a 1×1 convolution of each half and a coupling; the halves take turns.

    The 1×1 kernels start as rotations, as Glow's; the authors' start near the identity.

    Raises:
      ValueError: the heads do not share the features evenly.
    """
    if features % num_heads:
        raise ValueError(
            f"{features} features (model.*.features) are no multiple of {num_heads} heads of "
            "attention (model.*.num_heads)"
        )
    layers: list[Transform] = []
    for changed in ((1, 0) * count)[:count]:
        network = CouplingNetwork(features, num_blocks, num_heads, dropout_rate, dtype)
        layers += [
            ActNorm(1.0, by_position=True),
            FactorOut(split(0), InvertibleConvolution()),
            FactorOut(split(1), InvertibleConvolution()),
            Coupling(split(changed), network, MixtureCdf(num_mixtures)),
        ]
    return layers


def flow_plus_plus(
    shape: tuple[int, ...],
    num_checkerboard: int,
    num_channel: int,
    num_last: int,
    num_mixtures: int,
    features: int,
    num_blocks: int,
    num_heads: int,
    dropout_rate: float,
    logit_margin: float,
    dtype: Any = jnp.float32,
) -> Chain:
    """The flow from images in [0, 1], or points, to features of the same shape.

    The paper's checkerboard couplings are of every other column in the authors' code, and here. All
    of its couplings by channel and those after them are at half the resolution, where the pixels of
    a square follow each other: a coupling by channel changes a diagonal of each square, in the
    authors' code a row. Points have as many couplings of halves, with dense networks of
    `num_blocks` + 1 layers and no attention.

    Args:
      shape: the shape of an example: (H, W, C) with H even and W a multiple of 4, or (D,) with an
        even D.
      num_checkerboard, num_channel, num_last: couplings before the image is squeezed, by channel
        and by column after it.
      num_mixtures: logistics of each dimension.
      features, num_blocks, num_heads, dropout_rate: of the couplings' networks.
      logit_margin: `margin` of `Logit`, for images.
      dtype: dtype of the networks' products; everything else is float32.
    """
    if len(shape) == 1:
        count = num_checkerboard + num_channel + num_last
        normal = nn.initializers.he_normal()
        small = nn.initializers.variance_scaling(0.01, "fan_in", "normal")
        widths: Sequence[int] = (features,) * (num_blocks + 1)
        return Chain(
            [
                layer
                for changed in ((1, 0) * count)[:count]
                for layer in (
                    ActNorm(1.0),
                    InvertibleConvolution(),
                    Coupling(
                        ChannelHalf(changed),
                        DenseNetwork(widths, normal, small, dtype),
                        MixtureCdf(num_mixtures),
                    ),
                )
            ]
        )
    settings = (num_mixtures, features, num_blocks, num_heads, dropout_rate, dtype)
    return Chain(
        (
            Logit(logit_margin),
            *steps(Columns, num_checkerboard, *settings),
            OrderedSqueeze(),
            *steps(ChannelHalf, num_channel, *settings),
            *steps(Columns, num_last, *settings),
            Inverse(OrderedSqueeze()),
        )
    )


def dequantiser(
    levels: int,
    interval: Interval,
    num_couplings: int,
    num_mixtures: int,
    condition_features: int,
    features: int,
    num_blocks: int,
    num_heads: int,
    dropout_rate: float,
    dtype: Any = jnp.float32,
) -> VariationalDequantise:
    """The layer from the levels of images to the interval, whose noise is learned.

    Args:
      levels, interval: as for `Dequantise`.
      num_couplings: couplings of the noise's flow, of every other column.
      condition_features: channels of what it knows of the image.
      The others are as for `flow_plus_plus`.
    """
    settings = (num_mixtures, features, num_blocks, num_heads, dropout_rate, dtype)
    return VariationalDequantise(
        levels=levels,
        interval=interval,
        encoder=ConditionNetwork(condition_features, dropout_rate, dtype),
        noise=Chain(steps(Columns, num_couplings, *settings)),
    )
