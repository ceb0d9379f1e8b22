"""Networks of a VAE with one vector of latents (Kingma & Welling, 2014; Rezende & Mohamed, 2015).

The convolutional ones are those of the code of Sylvester flows (van den Berg et al., 2018), gated
and without batch norm, for any images that their strides divide.
"""

import math
from functools import partial
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import devices
from gm_jax.distributions import gaussian_kl, gaussian_log_prob
from gm_jax.flows.transform import Context, Transform
from gm_jax.networks.decoder_distributions import DecoderDistribution
from gm_jax.networks.mlp import Mlp
from gm_jax.networks.pixel_distributions import Parameters

Array = jax.Array
Convolutions = tuple[tuple[int, int], ...]  # (channels, stride) of each, from the image


class Posterior(NamedTuple):
    """A draw from q(z | x): z_K = f(z₀) with z₀ ~ N(mean, std²)."""

    mean: Array  # [B, Z]
    log_std: Array  # [B, Z]
    start: Array  # z₀, [B, Z]
    latents: Array  # z_K, [B, Z]
    log_det: Array  # ln|det ∂z_K/∂z₀|, [B]

    def sampled_kl(self) -> Array:
        """ln q(z_K | x) − ln p(z_K) with p = N(0, I), in nats [B] (thesis, Eq. 2.58)."""
        log_q = jnp.sum(gaussian_log_prob(self.start, self.mean, self.log_std), -1) - self.log_det
        return log_q - jnp.sum(gaussian_log_prob(self.latents, 0.0, 0.0), -1)

    def closed_form_kl(self) -> Array:
        """KL(N(mean, std²) ‖ N(0, I)) in nats [B]: that of q(z₀ | x), whatever the flow.

        It is −½ Σ (1 + ln σ² − µ² − σ²). The thesis prints it without squares and with the opposite
        sign (Eqs. 2.45 and 2.51).
        """
        return jnp.sum(gaussian_kl(self.mean, self.log_std, 0.0, 0.0), -1)

    def score_function(self, loss: Array) -> Array:
        """Zero [B], with the gradient of E_q[loss] by mean and deviation (T 1456–1495).

        It is (l − b) ∇ ln q(z | x) of the draw, for a loss [B] that takes z as a constant; b, the
        mean loss of the other examples of the global batch, lowers the variance alone.
        """
        given, count = jax.lax.stop_gradient(loss), len(loss) * devices.count()
        others = (count * devices.mean(jnp.mean(given)) - given) / max(count - 1, 1)
        drawn = jax.lax.stop_gradient(self.start)
        log_q = jnp.sum(gaussian_log_prob(drawn, self.mean, self.log_std), -1)
        return (given - others) * (log_q - jax.lax.stop_gradient(log_q))


class Gated(nn.Module):
    """A convolution times the sigmoid of another, in one.

    Attributes:
      conv: (features, kernel_size, strides) -> a convolution.
      features, kernel_size, stride: of each.
    """

    conv: Any
    features: int
    kernel_size: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [B, H, W, in] to [B, H', W', features]."""
        sides = (self.kernel_size, self.kernel_size)
        h = self.conv(2 * self.features, sides, (self.stride, self.stride))(x)
        value, gate = jnp.split(h, 2, -1)
        return value * nn.sigmoid(gate)


class ConvolutionalEncoder(nn.Module):
    """Gated convolutions, and a dense layer to features.

    Attributes:
      kernel_size: side of the kernels.
      layers: (channels, stride) of each convolution.
      features: F.
      dtype: dtype of the convolutions.
    """

    kernel_size: int
    layers: Convolutions
    features: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps images [B, H, W, C] in [−1, 1] to float32 [B, F]."""
        for features, stride in self.layers:
            conv = partial(nn.Conv, dtype=self.dtype)
            x = Gated(conv, features, self.kernel_size, stride)(x)
        h = nn.Dense(self.features, dtype=self.dtype)(x.reshape(x.shape[0], -1))
        return h.astype(jnp.float32)


class ConvolutionalDecoder(nn.Module):
    """The encoder backwards, with transposed convolutions, and a 1×1 convolution to the outputs.

    Attributes:
      shape: (H, W, outputs a pixel); H and W are multiples of all strides together.
      kernel_size, layers, dtype: as for the encoder.
    """

    shape: tuple[int, int, int]
    kernel_size: int
    layers: Convolutions
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array) -> Array:
        """Maps latents [B, Z] to float32 [B, H, W, outputs]."""
        height, width, outputs = self.shape
        shrink = math.prod(stride for _, stride in self.layers)
        top = (height // shrink, width // shrink, self.layers[-1][0])
        h = nn.Dense(math.prod(top), dtype=self.dtype)(z).reshape(-1, *top)
        channels, strides = zip(*self.layers, strict=True)
        channels = (channels[0], *channels[:-1])  # a layer's input has those of the one before
        for features, stride in zip(reversed(channels), reversed(strides), strict=True):
            conv = partial(nn.ConvTranspose, dtype=self.dtype)
            h = Gated(conv, features, self.kernel_size, stride)(h)
        return nn.Conv(outputs, (1, 1), dtype=self.dtype)(h).astype(jnp.float32)


class Encoder(nn.Module):
    """q(z | x): a Gaussian and a flow, all of whose parameters are linear in the image's features.

    Attributes:
      body: maps images [B, H, W, C] to float32 [B, F].
      num_latents: Z.
      flow: transforms vectors [B, Z].
    """

    body: nn.Module
    num_latents: int
    flow: Transform

    @nn.compact
    def __call__(self, x: Array, noise: Array) -> Posterior:
        """Draws latents.

        Args:
          x: images [B, H, W, C] in [−1, 1].
          noise: standard normal [B, Z].
        """
        features = nn.elu(self.body(x))
        statistics = nn.Dense(2 * self.num_latents, precision="highest")(features)
        mean, log_std = jnp.split(statistics, 2, -1)
        start = mean + jnp.exp(log_std) * noise
        # Layers of flows tell training from evaluation by batch statistics, and these have none.
        context = Context(False, condition=features)
        latents, log_det = self.flow.forward_and_log_det(start, context)
        return Posterior(mean, log_std, start, latents, log_det)


class Decoder(nn.Module):
    """p(x | z): a distribution whose parameters are functions of the latents, or learned.

    Attributes:
      body: maps latents [B, ...] to float32 with as many values as outputs of all pixels.
      image_shape: (H, W, C).
      likelihood: the distribution.
    """

    body: nn.Module
    image_shape: tuple[int, int, int]
    likelihood: DecoderDistribution

    @nn.compact
    def __call__(self, z: Array) -> Parameters:
        """Maps latents to the likelihood's parameters."""
        *pixels, channels = self.image_shape
        outputs = self.body(z).reshape(-1, *pixels, self.likelihood.num_outputs(channels))
        return self.likelihood.parameters(outputs, self.param)


def bodies(
    network: Any, image_shape: tuple[int, int, int], outputs: int, dtype: Any
) -> tuple[nn.Module, nn.Module]:
    """The bodies of encoder and decoder.

    Args:
      network: `kind`, dense or convolutional, and the sizes of its layers: `widths` of the
        encoder's dense layers, of which the last are the features; or `kernel_size`, `layers` and
        `features` of `ConvolutionalEncoder`. The decoder has them backwards.
      image_shape: (H, W, C).
      outputs: the decoder's outputs a pixel.
      dtype: dtype of products.

    Raises:
      ValueError: there is no such kind, its fields are missing, or the strides do not divide H, W.
    """
    height, width, _ = image_shape
    fields = {"dense": ("widths",), "convolutional": ("kernel_size", "layers", "features")}
    if network.kind not in fields:
        raise ValueError(
            f"model.network.kind is '{network.kind}'; choose among {', '.join(fields)}"
        )
    wanted = fields[network.kind]
    missing = [field for field in wanted if field not in network or not network[field]]
    if missing:
        raise ValueError(
            f"model.network.kind is '{network.kind}', without {', '.join(missing)}; configs/vae.py "
            "has variants with these fields"
        )
    if network.kind == "dense":
        widths = tuple(network.widths)
        total = height * width * outputs
        return (
            Mlp(widths[:-1], widths[-1], nn.elu, dtype=dtype),
            Mlp(widths[::-1], total, nn.elu, dtype=dtype),
        )
    layers = cast(Convolutions, tuple(map(tuple, network.layers)))
    shrink = math.prod(stride for _, stride in layers)
    if height % shrink or width % shrink:
        raise ValueError(
            f"images of {height}×{width} pixels: the strides of model.network.layers shrink them "
            f"{shrink} times, so sides are multiples of {shrink}; set data.resize to one, or "
            "model.network.kind=dense"
        )
    shared = {"kernel_size": network.kernel_size, "layers": layers, "dtype": dtype}
    return (
        ConvolutionalEncoder(features=network.features, **shared),
        ConvolutionalDecoder(shape=(height, width, outputs), **shared),
    )
