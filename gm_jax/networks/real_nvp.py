"""Real-NVP: maps images to features of the same shape, and back (Dinh et al., 2017; their code)."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.flows.coupling import Affine, ChannelHalf, Checkerboard, Coupling
from gm_jax.flows.dequantise import Logit
from gm_jax.flows.normalise import FlowBatchNorm
from gm_jax.flows.reshape import FactorOut, OrderedSqueeze, Squeeze
from gm_jax.flows.transform import Chain, Context, Inverse, Transform
from gm_jax.nn import weight_norm
from gm_jax.nn.batch_norm import BatchNorm
from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array


class CouplingNetwork(nn.Module):
    """Maps the kept half to the parameters of a coupling: [B, H, W, C] to [B, H, W, outputs].

    It applies relu[x, −x, mask] to the normalised input, a 3×3 convolution, and residual blocks of
    two; the stem and every block have a 1×1 skip, and the sum of these goes to the outputs. Every
    layer is weight-normalised, with a learned gain only if no batch norm follows to undo it. Only
    the outputs have biases. The authors' code has them on all these layers but one, where the batch
    norms that follow undo them; their gradient is rounding noise, which Adam would turn into full
    steps. As in that code, the layers are not initialised on data: batch norm already standardises
    their inputs.

    Attributes:
      hidden: the split whose changed pixels are 0 in the input; None if all pixels are kept.
      features: channels of every hidden layer.
      num_blocks: number of residual blocks.
      decay, epsilon: as for `BatchNorm`.
      dtype: dtype of the convolutions.
    """

    hidden: Checkerboard | None
    features: int
    num_blocks: int
    decay: float
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, outputs: int, context: Context) -> Array:
        """Maps x [B, H, W, C] to float32 [B, H, W, outputs]."""

        def norm(h: Array) -> Array:
            return BatchNorm(self.decay, self.epsilon)(h, context.train)

        h = norm(x)
        signed = [h, -h]
        if self.hidden is not None:  # half of the pixels are zero: ×2
            mask = jnp.broadcast_to(1 - self.hidden.mask(x.shape), (*x.shape[:-1], 1))
            signed = [2 * h, -2 * h, mask]
        h = self._conv(nn.relu(jnp.concatenate(signed, -1)), 3, use_gain=False)
        skips = self._conv(h, 1)
        for _ in range(self.num_blocks):
            update = self._conv(nn.relu(norm(h)), 3, use_gain=False)
            h = h + self._conv(nn.relu(norm(update)), 3)
            skips = skips + self._conv(h, 1)
        return self._conv(nn.relu(norm(skips)), 1, outputs, use_bias=True)

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
            # The published V ~ U(±√(2/input channels)) has this variance. The length of V is
            # normalised away, but it sets the effective learning rate.
            kernel_std=math.sqrt(2 / (3 * x.shape[-1])),
            # As published: the kernel's standard deviation before normalisation, by fan-in.
            init_gain=size / math.sqrt(6),
            dtype=self.dtype,
            use_gain=use_gain,
            use_bias=use_bias,
        )(x)


def real_nvp(
    image_shape: tuple[int, int, int],
    num_scales: int,
    num_blocks: int,
    features: int,
    num_checkerboard: int,
    num_channel: int,
    num_last: int,
    batch_norm_decay: float,
    batch_norm_epsilon: float,
    logit_margin: float,
    dtype: Any = jnp.float32,
) -> Chain:
    """The flow from dequantised images in [0, 1] to features, both float32 [B, H, W, C].

    After the logit, every scale but the last has checkerboard couplings, then channel couplings on
    the squeezed image, and factors out one diagonal of every 2×2 square; the last scale has only
    checkerboard couplings. A flow batch norm follows each coupling. The features are image-shaped
    with any number of scales. The inverse gives images in [0, 1], except for features that no image
    has.

    Args:
      image_shape: (H, W, C).
      num_scales: 1 or more; height and width must be multiples of 2^(num_scales − 1).
      num_blocks: number of residual blocks of a coupling's network.
      features: its width at the first scale; it doubles at each next scale and for channel
        couplings.
      num_checkerboard, num_channel: number of couplings of a scale before the last (published: 3
        and 3).
      num_last: number of couplings of the last scale (published: 4); adaptive density has only this
        scale.
      batch_norm_decay, batch_norm_epsilon: settings of every batch norm.
      logit_margin: `margin` of `Logit`.
      dtype: dtype of the convolutions; everything else is float32.
    """
    (height, width, _), multiple = image_shape, 2 ** (num_scales - 1)
    if height % multiple or width % multiple:
        raise ValueError(
            f"images of {height}×{width} pixels do not fit {num_scales} scales: height and width "
            f"must be multiples of {multiple}; lower model.real_nvp.num_scales, or set data.resize"
        )
    norm: dict[str, Any] = {"decay": batch_norm_decay, "epsilon": batch_norm_epsilon}

    def couplings(
        split_of: type[Checkerboard] | type[ChannelHalf], count: int, width: int
    ) -> list[Transform]:
        layers: list[Transform] = []
        for changed in ((1, 0) * count)[:count]:
            split = split_of(changed)
            hidden = split if isinstance(split, Checkerboard) else None
            network = CouplingNetwork(hidden, width, num_blocks, dtype=dtype, **norm)
            # As in the authors' code, the scale starts at 0 by pixel and at 1 by channel.
            kind = Affine(init_scale=0.0 if hidden else 1.0)
            layers += [Coupling(split, network, kind), FlowBatchNorm(split, **norm)]
        return layers

    def of_scale(scale: int) -> list[Transform]:
        """The transforms of a scale; the last of them contains the coarser scales."""
        width = features * 2**scale
        if scale == num_scales - 1:
            return couplings(Checkerboard, num_last, width)
        rest = FactorOut(ChannelHalf(1), Chain(of_scale(scale + 1)))
        return [
            *couplings(Checkerboard, num_checkerboard, width),
            Squeeze(),
            *couplings(ChannelHalf, num_channel, 2 * width),
            Inverse(Squeeze()),
            Chain((OrderedSqueeze(), rest, Inverse(OrderedSqueeze()))),
        ]

    return Chain((Logit(logit_margin), *of_scale(0)))


def initialize(flow: Transform, key: Array, x: Array, context: Context) -> dict[str, Any]:
    """Initialises a flow, with the batch's statistics as running statistics.

    Args:
      flow: a `real_nvp`, alone or with other layers around it.
      key: draws the parameters.
      x: [B, H, W, C], a batch of the flow's inputs.
      context: must have `train=True`.

    Returns:
      The variables {"params": tree, "batch_stats": tree}.
    """
    params = weight_norm.init(flow, key, x, context, method="forward_and_log_det")["params"]
    _, statistics = flow.apply(
        {"params": params}, x, context, method="forward_and_log_det", mutable=["batch_stats"]
    )
    return {"params": params, **statistics}


def magnitudes(params: Any) -> list[Array]:
    """The gains of the weight-normalised layers and the couplings' scales, to which the published
    code applies an l₂ penalty.

    Args:
      params: the parameters of a `real_nvp`.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return [leaf for path, leaf in leaves if path[-1].key in ("g", "scale")]
