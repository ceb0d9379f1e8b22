"""Real-NVP: images to features of the same shape, and back (Dinh et al., 2017, and their code)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.bijectors.chain import Chain
from gm_jax.bijectors.channel_coupling import ChannelCoupling
from gm_jax.bijectors.checkerboard_coupling import CheckerboardCoupling
from gm_jax.bijectors.factor_out import FactorOut
from gm_jax.bijectors.flow_batch_norm import FlowBatchNorm
from gm_jax.bijectors.inverse import Inverse
from gm_jax.bijectors.logit import Logit
from gm_jax.bijectors.masks import channel_half, checkerboard
from gm_jax.bijectors.squeeze import Squeeze
from gm_jax.nn import weight_norm

Array = jax.Array


class RealNVP(nn.Module):
    """The invertible network f from images in [0, 1] to features, both [B, H, W, C].

    After the logit, every scale but the last has couplings by checkerboard, then by channel on the
    squeezed image, and factors one half out; the last has couplings by checkerboard alone. A flow
    batch norm follows each coupling. The features are image-shaped at any number of scales.

    Attributes:
      num_scales: 1 or more; height and width must be multiples of 2^(num_scales − 1).
      num_blocks: residual blocks of a coupling's network.
      features: its width at the first scale; it doubles at each next scale, and for channels.
      num_checkerboard, num_channel: couplings of a scale before the last (published: 3 and 3).
      num_last: couplings of the last scale (published: 4); adaptive density has this scale alone.
      batch_norm_decay, batch_norm_epsilon: of every batch norm.
      logit_margin: of `Logit`.
      dtype: of the convolutions; all else is float32.
    """

    num_scales: int
    num_blocks: int
    features: int
    num_checkerboard: int
    num_channel: int
    num_last: int
    batch_norm_decay: float
    batch_norm_epsilon: float
    logit_margin: float
    dtype: Any = jnp.float32

    def setup(self) -> None:
        self.flow = Chain((Logit(self.logit_margin), *self._scale(0)))

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps images to features.

        Args:
          x: float [B, H, W, C] in [0, 1], dequantised.
          train: normalise by the statistics of the global batch, and update the running ones
            (`batch_stats` must be mutable), instead of using these.

        Returns:
          Features float32 [B, H, W, C], and ln|det ∂f/∂x| in nats [B].
        """
        self._check(x.shape)
        return self.flow.forward_and_log_det(x, train)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps features to images by the running statistics.

        A batch's own are not known before it is inverted, so this inverts the forward direction
        with `train=False`.

        Args:
          y: float [B, H, W, C].

        Returns:
          x float32 [B, H, W, C], in [0, 1] but for features that no image has, and ln|det ∂x/∂y|
          in nats [B].
        """
        self._check(y.shape)
        return self.flow.inverse_and_log_det(y)

    def _scale(self, scale: int) -> list[nn.Module]:
        """The bijectors of a scale and, within the last of them, of the scales below."""
        if scale == self.num_scales - 1:
            return self._checkerboard_couplings(self.num_last, scale)
        return [
            *self._checkerboard_couplings(self.num_checkerboard, scale),
            Squeeze(),
            *self._channel_couplings(self.num_channel, scale),
            Inverse(Squeeze()),
            FactorOut(Chain(self._scale(scale + 1))),
        ]

    def _checkerboard_couplings(self, count: int, scale: int) -> list[nn.Module]:
        network, norm = self._options(self.features * 2**scale)
        layers = []
        for parity in ((1, 0) * count)[:count]:
            mask = partial(checkerboard, parity=parity)
            layers += [CheckerboardCoupling(parity, **network), FlowBatchNorm(mask, **norm)]
        return layers

    def _channel_couplings(self, count: int, scale: int) -> list[nn.Module]:
        network, norm = self._options(self.features * 2 ** (scale + 1))
        layers = []
        for half in ((1, 0) * count)[:count]:
            mask = partial(channel_half, half=half)
            layers += [ChannelCoupling(half, **network), FlowBatchNorm(mask, **norm)]
        return layers

    def _options(self, features: int) -> tuple[dict[str, Any], dict[str, Any]]:
        network = {
            "features": features,
            "num_blocks": self.num_blocks,
            "batch_norm_decay": self.batch_norm_decay,
            "batch_norm_epsilon": self.batch_norm_epsilon,
            "dtype": self.dtype,
        }
        return network, {"decay": self.batch_norm_decay, "epsilon": self.batch_norm_epsilon}

    def _check(self, shape: tuple[int, ...]) -> None:
        multiple = 2 ** (self.num_scales - 1)
        if shape[1] % multiple or shape[2] % multiple:
            raise ValueError(
                f"images of {shape[1]}×{shape[2]} pixels do not fit {self.num_scales} scales: "
                f"height and width must be multiples of {multiple}; lower "
                "model.real_nvp.num_scales, or set data.resize"
            )


def initialize(network: RealNVP, key: Array, x: Array) -> dict[str, Any]:
    """Initialises a Real-NVP; its running statistics are those of the batch.

    Args:
      network: the network.
      key: of the parameters.
      x: float [B, H, W, C] in [0, 1].

    Returns:
      The variables {"params": tree, "batch_stats": tree}.
    """
    params = weight_norm.init(network, key, x, True, method="forward_and_log_det")
    _, statistics = network.apply(
        {"params": params}, x, True, method="forward_and_log_det", mutable=["batch_stats"]
    )
    return {"params": params, **statistics}


def magnitudes(params: Any) -> list[Array]:
    """The gains of the weight-normalised layers and the couplings' scales, which published code
    keeps small by an l₂ penalty.

    Args:
      params: of a `RealNVP`.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return [leaf for path, leaf in leaves if path[-1].key in ("g", "scale")]
