"""PixelCNN++ (Salimans et al., 2017), optionally conditioned on an image (thesis 3.4.1).

p(x) = Π_i p(x_i | x_<i) in raster order. Two streams carry the context of a pixel: u sees the rows
above it; ul sees the pixels to its left (and, through u, the rows above).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.distributions import MIN_LOG_SCALE, num_mixture_parameters
from gm_jax.nn import rematerialize
from gm_jax.nn.activations import concat_elu
from gm_jax.nn.noise import Dropout
from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array


def down_shift(x: Array) -> Array:
    """Row r becomes row r − 1; zeros enter at the top."""
    return jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))


def right_shift(x: Array) -> Array:
    """Column c becomes column c − 1; zeros enter at the left."""
    return jnp.pad(x[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))


def down_shifted_conv(
    features: int, kernel_size: Sequence[int] = (2, 3), strides: int = 1, **kwargs: Any
) -> WeightNormConv:
    """A convolution that sees its own row and the rows above."""
    height, width = kernel_size
    padding = ((height - 1, 0), ((width - 1) // 2, (width - 1) // 2))
    return WeightNormConv(features, kernel_size, (strides, strides), padding, **kwargs)


def down_right_shifted_conv(
    features: int, kernel_size: Sequence[int] = (2, 2), strides: int = 1, **kwargs: Any
) -> WeightNormConv:
    """A convolution that sees its own pixel and those above and to the left."""
    height, width = kernel_size
    padding = ((height - 1, 0), (width - 1, 0))
    return WeightNormConv(features, kernel_size, (strides, strides), padding, **kwargs)


class GatedResnet(nn.Module):
    """x + a·σ(b), with [a, b] from two convolutions, an auxiliary input and a condition.

    Attributes:
      conv: makes the stream's convolution from a number of features.
      dropout_rate: dropout rate between the two convolutions.
      gate_init_scale: `init_scale` of the second convolution.
      kernel_std: as for `WeightNormConv`.
    """

    conv: Any
    dropout_rate: float
    gate_init_scale: float
    kernel_std: float
    dtype: Any = jnp.float32

    @rematerialize.block
    @nn.compact
    def __call__(
        self,
        x: Array,
        auxiliary: Array | None,
        condition: Array | None,
        index: Array,
        train: bool,
    ) -> Array:
        """Maps x [B, H, W, F]; auxiliary [B, H, W, A]; condition [B, H, W, 2F]; index [B]."""
        features, options = x.shape[-1], {"kernel_std": self.kernel_std, "dtype": self.dtype}
        hidden = self.conv(features, **options)(concat_elu(x))
        if auxiliary is not None:
            hidden += WeightNormConv(features, (1, 1), **options)(concat_elu(auxiliary))
        hidden = Dropout(self.dropout_rate)(concat_elu(hidden), index, train)
        gated = self.conv(2 * features, init_scale=self.gate_init_scale, **options)(hidden)
        if condition is not None:
            gated += condition
        value, gate = jnp.split(gated, 2, axis=-1)
        return x + value * nn.sigmoid(gate)


class ConditionStream(nn.Module):
    """Unmasked convolutions of an image, one for each layer of the PixelCNN (thesis 3.4.1).

    The thesis gives neither their width nor their form. Ours is a residual stream of convolutions
    that follows the PixelCNN through its scales; its contribution to each layer starts at zero, so
    that training starts from the unconditional model.

    Attributes:
      features, kernel_size: channels and kernel size of its convolutions.
      residual_init_scale: `init_scale` of a layer's contribution to the stream.
      kernel_std: as for `WeightNormConv`.
      layer_features, num_scales, num_blocks: `features`, `num_scales` and `num_blocks` of the
        PixelCNN.
      num_streams: 2, for u and ul.
      dtype: dtype of the convolutions.
    """

    features: int
    kernel_size: int
    residual_init_scale: float
    kernel_std: float
    layer_features: int
    num_scales: int
    num_blocks: int
    num_streams: int = 2
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Array) -> list[tuple[Array, ...]]:
        """Maps [B, H, W, C] to (u, ul), each [B, h, w, 2·layer_features], per layer."""
        conv = partial(
            WeightNormConv,
            self.features,
            (self.kernel_size, self.kernel_size),
            kernel_std=self.kernel_std,
            dtype=self.dtype,
        )
        x = conv()(image)
        layers: list[tuple[Array, ...]] = []

        def run(x: Array, num_layers: int) -> Array:
            for _ in range(num_layers):
                x = x + conv(init_scale=self.residual_init_scale)(concat_elu(x))
                contribution = nn.Conv(
                    2 * self.num_streams * self.layer_features,
                    (1, 1),
                    use_bias=False,
                    kernel_init=nn.initializers.zeros,
                    dtype=self.dtype,
                )(nn.elu(x))
                layers.append(tuple(jnp.split(contribution, self.num_streams, axis=-1)))
            return x

        for scale in range(self.num_scales):
            x = run(x, self.num_blocks)
            if scale < self.num_scales - 1:
                x = conv(strides=(2, 2))(concat_elu(x))
        for scale in range(self.num_scales):
            x = run(x, self.num_blocks + (scale > 0))
            if scale < self.num_scales - 1:
                x = conv(strides=(2, 2), transpose=True)(concat_elu(x))
        return layers


class PixelCNN(nn.Module):
    """The network of PixelCNN++: maps an image to the parameters of each pixel's distribution.

    Attributes:
      num_scales: number of resolutions; each is half the previous one.
      num_blocks: gated resnets per stream and scale (one more on the way down, after the first).
      features: channels of every hidden layer.
      num_mixtures: K, number of logistics in a pixel's mixture; 0: a pixel is one of C categories,
        and the outputs are their logits.
      dropout_rate: dropout rate inside the gated resnets.
      gate_init_scale: `init_scale` of the convolution that ends a gated resnet; 1 elsewhere.
      kernel_std: as for `WeightNormConv`.
      min_log_scale: the density and the samplers clip the log-scales of the logistics to at least
        this.
      dtype: dtype of the convolutions.
    """

    num_scales: int
    num_blocks: int
    features: int
    num_mixtures: int
    dropout_rate: float
    gate_init_scale: float
    kernel_std: float
    min_log_scale: float = MIN_LOG_SCALE
    dtype: Any = jnp.float32

    # Fields on which a trained network's weights do not depend.
    free_fields = ("dropout_rate", "gate_init_scale", "kernel_std", "dtype")

    @nn.compact
    def __call__(
        self,
        x: Array,
        index: Array,
        conditions: list[tuple[Array, ...]] | None = None,
        train: bool = False,
    ) -> Array:
        """Returns parameters float32 [B, H, W, K(1+2C+C(C−1)/2)], or [B, H, W, C].

        Args:
          x: images [B, H, W, C] in [−1, 1], or one-hot; H and W divisible by 2^(num_scales − 1).
          index: int32 [B], the examples' numbers, which key the dropout.
          conditions: output of a `ConditionStream`: a pair per layer, in order.
          train: whether to drop units.

        Raises:
          ValueError: the scales do not divide the image.
        """
        self._check(x)
        options: dict[str, Any] = {"kernel_std": self.kernel_std, "dtype": self.dtype}
        conv_down: Callable[..., WeightNormConv] = partial(
            down_shifted_conv, self.features, **options
        )
        conv_right: Callable[..., WeightNormConv] = partial(
            down_right_shifted_conv, self.features, **options
        )
        resnet: Callable[..., GatedResnet] = partial(
            GatedResnet,
            dropout_rate=self.dropout_rate,
            gate_init_scale=self.gate_init_scale,
            **options,
        )
        remaining = iter(conditions) if conditions is not None else None

        def layer(
            u: Array, ul: Array, u_auxiliary: Array | None, ul_auxiliary: Array | None
        ) -> tuple[Array, Array]:
            condition = (None, None) if remaining is None else next(remaining)
            u = resnet(down_shifted_conv)(u, u_auxiliary, condition[0], index, train)
            context = u if ul_auxiliary is None else jnp.concatenate([u, ul_auxiliary], -1)
            ul = resnet(down_right_shifted_conv)(ul, context, condition[1], index, train)
            return u, ul

        # A channel of ones tells the network where the image ends.
        x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=1.0)
        u = down_shift(conv_down()(x))
        ul = down_shift(conv_down((1, 3))(x)) + right_shift(conv_right((2, 1))(x))
        skips = [(u, ul)]
        for scale in range(self.num_scales):
            for _ in range(self.num_blocks):
                u, ul = layer(u, ul, None, None)
                skips.append((u, ul))
            if scale < self.num_scales - 1:
                u, ul = conv_down(strides=2)(u), conv_right(strides=2)(ul)
                skips.append((u, ul))

        u, ul = skips.pop()
        for scale in range(self.num_scales):
            for _ in range(self.num_blocks + (scale > 0)):
                u, ul = layer(u, ul, *skips.pop())
            if scale < self.num_scales - 1:
                upsample: Callable[..., WeightNormConv] = partial(
                    WeightNormConv,
                    self.features,
                    strides=(2, 2),
                    padding="VALID",
                    transpose=True,
                    **options,
                )
                u, ul = upsample((2, 3))(u)[:, :, 1:], upsample((2, 2))(ul)
        channels = x.shape[-1] - 1
        num_parameters = num_mixture_parameters(self.num_mixtures, channels) or channels
        head = WeightNormConv(num_parameters, (1, 1), **options)
        return head(nn.elu(ul))

    def _check(self, x: Array) -> None:
        multiple = 2 ** (self.num_scales - 1)
        if x.shape[1] % multiple or x.shape[2] % multiple:
            raise ValueError(
                f"images of {x.shape[1]}×{x.shape[2]} pixels do not fit num_scales="
                f"{self.num_scales}: height and width must be multiples of {multiple}; "
                "lower num_scales, or resize the images"
            )
