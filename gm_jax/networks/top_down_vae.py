"""Convolutional VAE with top-down hierarchical latents (Lucas et al., 2019, appendix B; Table 6a).

The decoder is SNGAN's generator, from a latent vector to an image, with latent variables among its
feature maps too; the encoder mirrors it. Without those latents the decoder is a GAN's generator. In
place of SNGAN's batch norm and ReLU it has ELU (appendix C) and weight normalisation, initialised
on data, which the class-conditional models need (Eq. 16).
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.networks.hierarchical_vae import Evidence, draw_posterior
from gm_jax.networks.inverse_autoregressive_flow import InverseAutoregressiveFlow
from gm_jax.nn import rematerialize
from gm_jax.nn.noise import Noise
from gm_jax.nn.weight_norm import WeightNormConv

Array = jax.Array
STRIDED: dict[str, Any] = {"kernel_size": (4, 4), "strides": (2, 2)}


class Decoding(NamedTuple):
    """The decoder's output on a batch."""

    mean: Array  # [B, H, W, C], of the decoder's Gaussian
    log_std: Array | None  # [], isotropic; None for a GAN's generator
    kl: Array  # [B, layers of latents], nats; 0 without evidence
    latents: list[Array]  # the top [B, 1, 1, Z], then one [B, h, w, Z] per layer


def residual(h: Array, width: int, scale: float, conv: Any, label: Array | None) -> Array:
    """Adds two convolutions of h to h."""
    hidden = conv(width, (3, 3))(nn.elu(h), label)
    return h + scale * conv(width, (3, 3))(nn.elu(hidden), label)


class Encoder(nn.Module):
    """Bottom-up pass: maps an image (or its features) to evidence for every layer of latents.

    Attributes:
      widths: channels from the image's resolution to the top; each one halves the resolution.
      top_latents: length of the vector at the top.
      num_latents: latent channels of every layer below, or of each from the image's resolution; 0
        has none.
      residual_scale: scale of the two convolutions added at every resolution; 0 adds none.
      flow: whether the posteriors below the top have an inverse autoregressive flow.
      head_init_scale: initial standard deviation of the posterior's statistics.
      num_classes: number of classes of conditional weight normalisation, or None.
      dtype: dtype of the convolutions.
    """

    widths: tuple[int, ...]
    top_latents: int
    num_latents: int | tuple[int, ...]
    residual_scale: float
    flow: bool
    head_init_scale: float
    num_classes: int | None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, label: Array | None = None) -> list[Evidence]:
        """Maps [B, H, W, C] to evidence from the top ([B, 1, 1, ·]) to the image's resolution."""
        conv = partial(WeightNormConv, num_classes=self.num_classes, dtype=self.dtype)
        head = partial(conv, init_scale=self.head_init_scale)
        below = latents_below(self.num_latents, self.widths)
        h = conv(self.widths[0], (3, 3))(x, label)
        evidences = []
        for level, width in enumerate(self.widths):
            if level:
                h = conv(width, **STRIDED)(nn.elu(h), label)
            if self.residual_scale:
                h = residual(h, width, self.residual_scale, conv, label)
            latents = below[level] if level < len(below) else 0
            if latents:
                statistics = head(2 * latents + self.flow * width, (3, 3))(nn.elu(h), label)
                evidences.append(Evidence(*jnp.split(statistics, [latents, 2 * latents], -1)))
        flat = nn.elu(h).reshape(h.shape[0], 1, 1, -1)
        mean, log_std = jnp.split(head(2 * self.top_latents, (1, 1))(flat, label), 2, -1)
        return [Evidence(mean, log_std, flat[..., :0]), *reversed(evidences)]


def draw(
    noise: Array, prior: tuple[Array, Array], posterior: tuple[Array, Array] | None, flow: Any
) -> tuple[Array, Array]:
    """z and its one-sample divergence log q(z) − log p(z), nats [B]; 0 if drawn from the prior.

    Args:
      noise, prior, posterior, flow: as for `draw_posterior`; posterior None draws from the prior.
    """
    if posterior is None:
        mean, log_std = prior
        return mean + jnp.exp(log_std) * noise, jnp.zeros(noise.shape[0])
    z, log_ratio = draw_posterior(noise, prior, posterior, flow)
    return z, jnp.sum(log_ratio, (1, 2, 3))


class LatentLayer(nn.Module):
    """Latent feature maps: the prior depends on those above, the posterior also on evidence.

    The attributes are as for `Decoder`.
    """

    num_latents: int
    flow: bool
    flow_layers: int
    flow_scale: float
    head_init_scale: float
    num_classes: int | None
    dtype: Any

    @rematerialize.block
    @nn.compact  # modules that need evidence are named, so that the others' names never shift
    def __call__(
        self,
        h: Array,
        noise: Array | None,
        evidence: Evidence | None,
        latents: Array | None,
        label: Array | None,
    ) -> tuple[Array, Array, Array]:
        """Maps h [B, h, w, F] to h plus its latents, z [B, h, w, Z], and the KL, nats [B]."""
        z, features, active = self.num_latents, h.shape[-1], nn.elu(h)
        plain = partial(WeightNormConv, dtype=self.dtype)
        conv = partial(plain, num_classes=self.num_classes)
        head = partial(conv, init_scale=self.head_init_scale)
        prior_mean, prior_log_std = jnp.split(head(2 * z, (3, 3))(active, label), 2, -1)
        posterior, flow = None, None
        if evidence is not None:
            statistics = head(2 * z + self.flow * features, (3, 3), name="posterior")(active, label)
            mean, log_std, context = jnp.split(statistics, [z, 2 * z], -1)
            posterior = (mean + evidence.mean, log_std + evidence.log_std)
            if self.flow:
                step = InverseAutoregressiveFlow(
                    features, 3, self.flow_layers, self.flow_scale, 1.0, plain, name="flow_step"
                )
                flow = partial(step, context=context + evidence.context)
        if latents is None:
            assert noise is not None  # needed because no latents are given
            latents, kl = draw(noise, (prior_mean, prior_log_std), posterior, flow)
        else:
            kl = jnp.zeros(h.shape[0])
        return h + conv(features, (3, 3))(latents, label), latents, kl


class Decoder(nn.Module):
    """Top-down pass: maps latents to the mean of a Gaussian over the image (or its features).

    Attributes:
      image_shape: (H, W, C); H and W divisible by 2^(len(widths) − 1).
      flow_layers, flow_scale: settings of `InverseAutoregressiveFlow`.
      init_log_std: initial log standard deviation of the isotropic Gaussian; None for a GAN's
        generator, which has none.
      The others are as for `Encoder`.
    """

    image_shape: tuple[int, int, int]
    widths: tuple[int, ...]
    top_latents: int
    num_latents: int | tuple[int, ...]
    residual_scale: float
    flow: bool
    flow_layers: int
    flow_scale: float
    head_init_scale: float
    init_log_std: float | None
    num_classes: int | None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        evidences: list[Evidence] | None,
        noise: Noise | None,
        label: Array | None = None,
        latents: Sequence[Array | None] | None = None,
        temperature: float = 1.0,
    ) -> Decoding:
        """Draws latents from posteriors (given evidence) or priors, or uses the given latents.

        Args:
          evidences: from the encoder, or None.
          noise: draws the latents; None if all are given.
          label: int32 [B], or None without classes.
          latents: latents as in a `Decoding`, or None; those that are None among them are drawn.
          temperature: scales the standard deviation of the noise.
        """
        conv = partial(WeightNormConv, num_classes=self.num_classes, dtype=self.dtype)
        head = partial(conv, init_scale=self.head_init_scale)
        height, width = top_size(self.image_shape, self.widths)
        below = latents_below(self.num_latents, self.widths)
        depth = 1 + sum(number > 0 for number in below)
        evidence: Sequence[Evidence | None] = [None] * depth if evidences is None else evidences
        given: Sequence[Array | None] = [None] * depth if latents is None else latents

        def layer_noise(layer: int, *shape: int) -> Array:
            assert noise is not None  # needed because no latents are given
            return temperature * noise.layer(layer).normal(*shape)

        if given[0] is None:
            standard, top = (jnp.zeros(()), jnp.zeros(())), evidence[0]
            posterior = None if top is None else (top.mean, top.log_std)
            z, kl = draw(layer_noise(0, 1, 1, self.top_latents), standard, posterior, None)
        else:
            z, kl = given[0], jnp.zeros(given[0].shape[0])
        drawn, kls = [z], [kl]
        h = conv(height * width * self.widths[-1], (1, 1))(z, label)
        h = h.reshape(-1, height, width, self.widths[-1])
        for features, num_latents in zip(self.widths[-2::-1], below[::-1], strict=True):
            h = conv(features, **STRIDED, transpose=True)(nn.elu(h), label)
            if self.residual_scale:
                h = residual(h, features, self.residual_scale, conv, label)
            if num_latents:
                layer = len(drawn)
                latent_layer = LatentLayer(
                    num_latents,
                    self.flow,
                    self.flow_layers,
                    self.flow_scale,
                    self.head_init_scale,
                    self.num_classes,
                    self.dtype,
                )
                layer_draw = None
                if given[layer] is None:
                    layer_draw = layer_noise(layer, *h.shape[1:3], num_latents)
                h, z, kl = latent_layer(h, layer_draw, evidence[layer], given[layer], label)
                drawn.append(z)
                kls.append(kl)
        mean = head(self.image_shape[-1], (3, 3))(nn.elu(h), label)
        log_std = None
        if self.init_log_std is not None:
            log_std = self.param("log_std", nn.initializers.constant(self.init_log_std), ())
        return Decoding(mean, log_std, jnp.stack(kls, 1), drawn)


def latents_below(num_latents: int | tuple[int, ...], widths: tuple[int, ...]) -> tuple[int, ...]:
    """Latent channels at each resolution below the top, from the image's; one for all, or each."""
    below = len(widths) - 1
    each = (num_latents,) * below if isinstance(num_latents, int) else tuple(num_latents)
    if len(each) != below:
        raise ValueError(
            f"latents at {len(each)} resolutions (model.map_latents), for {len(widths)} widths: "
            f"give {below} numbers, from the image's resolution to the last below the top"
        )
    return each


def top_size(image_shape: tuple[int, int, int], widths: tuple[int, ...]) -> tuple[int, int]:
    """Height and width where the latent vector enters; ValueError if they do not halve evenly."""
    height, width, _ = image_shape
    multiple = 2 ** (len(widths) - 1)
    if height % multiple or width % multiple:
        raise ValueError(
            f"images of {height}×{width} pixels do not fit {len(widths)} widths: height and width "
            f"must be multiples of {multiple}; give fewer widths of model.vae (or "
            "model.generator), or set data.resize"
        )
    return height // multiple, width // multiple
