"""Real-NVP: images to features of the same shape, and back (Dinh et al., 2017, and their code)."""

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

    relu[x, −x, mask] of the normalised input, a 3×3 convolution, residual blocks of two; a 1×1 skip
    from the stem and from every block, whose sum goes to the outputs. All is weight-normalised,
    with a learned gain only where no batch norm follows that would undo it. The outputs alone have
    biases: the authors' code has them on all these layers but one, where the batch norms behind
    undo them; their gradient is rounding noise, which Adam would turn into full steps. As in that
    code the layers are not initialised on data: batch norm already standardises what they see.

    Attributes:
      hidden: the split whose changed pixels are 0 in the input; None where all pixels are kept.
      features: of every hidden layer.
      num_blocks: residual blocks.
      decay, epsilon: of `BatchNorm`.
      dtype: of the convolutions.
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
            # Published: V ~ U(±√(2/channels in)), here of the same variance. Its length, normalised
            # away, sets the rate of learning.
            kernel_std=math.sqrt(2 / (3 * x.shape[-1])),
            # Published: the standard deviation of the kernel before it is normalised, by fan-in.
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

    After the logit, every scale but the last has couplings by checkerboard, then by channel on the
    squeezed image, and factors one diagonal of every 2×2 square out; the last has couplings by
    checkerboard alone. A flow batch norm follows each coupling. The features are image-shaped at
    any number of scales. The inverse gives images in [0, 1] but of features that no image has.

    Args:
      image_shape: (H, W, C).
      num_scales: 1 or more; height and width must be multiples of 2^(num_scales − 1).
      num_blocks: residual blocks of a coupling's network.
      features: its width at the first scale; it doubles at each next scale, and for channels.
      num_checkerboard, num_channel: couplings of a scale before the last (published: 3 and 3).
      num_last: couplings of the last scale (published: 4); adaptive density has this scale alone.
      batch_norm_decay, batch_norm_epsilon: of every batch norm.
      logit_margin: of `Logit`.
      dtype: of the convolutions; all else is float32.
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
            # As in the authors' code couplings start as shifts by pixel, as scales by channel.
            kind = Affine(init_scale=0.0 if hidden else 1.0)
            layers += [Coupling(split, network, kind), FlowBatchNorm(split, **norm)]
        return layers

    def of_scale(scale: int) -> list[Transform]:
        """The transforms of a scale and, within the last of them, of the scales below."""
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
    """Initialises a flow; its running statistics are those of the batch.

    Args:
      flow: `real_nvp`, alone or with layers around it.
      key: of the parameters.
      x: [B, H, W, C], what it is a flow of.
      context: with `train`.

    Returns:
      The variables {"params": tree, "batch_stats": tree}.
    """
    params = weight_norm.init(flow, key, x, context, method="forward_and_log_det")
    _, statistics = flow.apply(
        {"params": params}, x, context, method="forward_and_log_det", mutable=["batch_stats"]
    )
    return {"params": params, **statistics}


def magnitudes(params: Any) -> list[Array]:
    """The gains of the weight-normalised layers and the couplings' scales, which published code
    keeps small by an l₂ penalty.

    Args:
      params: of a `real_nvp`.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return [leaf for path, leaf in leaves if path[-1].key in ("g", "scale")]
