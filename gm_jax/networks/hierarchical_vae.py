"""Top-down hierarchical VAE with inverse autoregressive flow posteriors (Kingma et al., 2016).

A bottom-up pass turns the image into evidence for each block; a top-down pass draws the blocks'
latents z_1, z_2, …, where each prior and posterior depends on the latents before it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.choices import Choose, bin_masses, latents_of, uniform_masses
from gm_jax.distributions import gaussian_log_prob
from gm_jax.networks.inverse_autoregressive_flow import InverseAutoregressiveFlow
from gm_jax.nn import rematerialize
from gm_jax.nn.noise import Noise
from gm_jax.nn.weight_norm import WeightNormConv, is_data_dependent_init

Array = jax.Array


class Evidence(NamedTuple):
    """What the bottom-up pass gives to a block, each [B, h, w, ·]."""

    mean: Array
    log_std: Array
    context: Array


class Reconstruction(NamedTuple):
    """The network's output on a batch."""

    mean: Array  # [B, H, W, C] (smaller with `downsampling`), the image in [−1, 1]
    log_scale: Array  # [C] or [1], of the logistics around the means, the same for all pixels
    kl: Array  # [B, blocks, latents], nats summed over space
    latents: list[Array]  # one [B, h, w, latents] per block


# Draws latents [B, h, w, Z] in the units of the prior, given the posterior's (mean, log_std) there,
# or given None the prior; and the shape.
Draw = Callable[[tuple[Array, Array] | None, tuple[int, ...]], Array]


def draw_posterior(
    noise: Array, prior: tuple[Array, Array], posterior: tuple[Array, Array], flow: Any
) -> tuple[Array, Array]:
    """z ~ q(z | x) and log q(z) − log p(z) of every latent, nats [B, h, w, Z] (Eq. 9 of IAF).

    Args:
      noise: standard normal [B, h, w, Z].
      prior, posterior: (mean, log_std), which broadcast to `noise`.
      flow: maps z to (z', log|dz/dz'|), or None.
    """
    mean, log_std = posterior
    z = mean + jnp.exp(log_std) * noise
    log_q = gaussian_log_prob(z, mean, log_std)
    if flow is not None:
        z, log_scale = flow(z)
        log_q += log_scale
    return z, log_q - gaussian_log_prob(z, *prior)


class Block(nn.Module):
    """One layer of latents: `up` gathers evidence, `down` draws the latents and uses them.

    Attributes:
      flow: makes the posterior's flow, or None.
      conv: makes a convolution.
      The others are as for `HierarchicalVAE`.
    """

    features: int
    num_latents: int
    kernel_size: int
    downsample: bool
    residual_scale: float
    flow: Any
    conv: Any

    def setup(self) -> None:
        size = (self.kernel_size, self.kernel_size)
        strides = (2, 2) if self.downsample else (1, 1)
        features, latents = self.features, self.num_latents
        self.up_in = self.conv(2 * latents + 2 * features, size, strides)
        self.up_out = self.conv(features, size)
        self.down_in = self.conv(4 * latents + 2 * features, size)
        self.down_out = self.conv(features, size, strides, transpose=self.downsample)
        if self.flow:
            self.posterior_flow = self.flow()

    @rematerialize.block
    def up(self, h: Array) -> tuple[Array, Evidence]:
        """Maps [B, H, W, F] to its residual update and the block's evidence."""
        z, f = self.num_latents, self.features
        statistics = self.up_in(nn.elu(h))
        mean, log_std, context, hidden = jnp.split(statistics, [z, 2 * z, 2 * z + f], -1)
        skip = h[:, ::2, ::2] if self.downsample else h
        return skip + self.residual_scale * self.up_out(nn.elu(hidden)), Evidence(
            mean, log_std, context
        )

    @rematerialize.block
    def down(
        self,
        h: Array,
        noise: Array | None,
        evidence: Evidence | None,
        latents: Array | None,
        draw: Draw | None = None,
    ) -> tuple[Array, Array, Array]:
        """Draws z from the posterior (given evidence) or the prior, or uses the given latents.

        Args:
          h: [B, h, w, F].
          noise: standard normal [B, h, w, Z], scaled by the temperature; unused with `latents`.
          evidence: from `up`; None draws from the prior.
          latents: [B, h, w, Z] to decode; None draws them.
          draw: draws them in place of noise; then the KL divergence is 0.

        Returns:
          The new h, z and the one-sample KL divergence in nats [B, Z] (0 without evidence).
        """
        z, f = self.num_latents, self.features
        statistics = self.down_in(nn.elu(h))
        parts = jnp.split(statistics, [z, 2 * z, 3 * z, 4 * z, 4 * z + f], -1)
        prior_mean, prior_log_std, mean, log_std, context, hidden = parts
        kl = jnp.zeros((h.shape[0], z))
        # The published initialisation draws from the prior, but the flow still sees its input.
        from_prior = evidence is None or is_data_dependent_init(self)
        if draw is not None:
            standardised = None
            if evidence is not None:
                offset = (mean + evidence.mean - prior_mean) * jnp.exp(-prior_log_std)
                standardised = (offset, log_std + evidence.log_std - prior_log_std)
            latents = prior_mean + jnp.exp(prior_log_std) * draw(standardised, prior_mean.shape)
        elif latents is None and from_prior:
            assert noise is not None  # needed because no latents are given
            latents = prior_mean + jnp.exp(prior_log_std) * noise
        if evidence is not None and draw is None:
            if is_data_dependent_init(self) and self.flow:
                latents, _ = self.posterior_flow(latents, context + evidence.context)
            else:
                posterior = (mean + evidence.mean, log_std + evidence.log_std)
                context, flow = context + evidence.context, None
                if self.flow:
                    flow = partial(self.posterior_flow, context=context)
                prior = (prior_mean, prior_log_std)
                assert noise is not None
                latents, log_ratio = draw_posterior(noise, prior, posterior, flow)
                kl = jnp.sum(log_ratio, (1, 2))
        assert latents is not None  # given, or drawn from prior or posterior
        update = self.down_out(nn.elu(jnp.concatenate([latents, hidden], -1)))
        skip = jnp.repeat(jnp.repeat(h, 2, 1), 2, 2) if self.downsample else h
        return skip + self.residual_scale * update, latents, kl


class HierarchicalVAE(nn.Module):
    """The IAF-VAE: maps an image to the means of its pixels, through a hierarchy of latents.

    Attributes:
      channels: number of channels of the decoded image.
      downsampling: factor by which the decoded image is smaller than the encoded one.
      num_scales: number of resolutions of the latents; each is half the previous one.
      num_blocks: number of blocks at each resolution.
      features, num_latents: channels of every hidden layer and of a block's latents.
      kernel_size: kernel size of the blocks' convolutions.
      stem_kernel_size: kernel size of the first and last convolutions, whose stride is
        `stem_stride`.
      flow: whether posteriors have an inverse autoregressive flow.
      flow_layers, flow_scale, flow_init_scale: settings of `InverseAutoregressiveFlow`.
      residual_scale: scale of a block's residual update.
      init_scale, init_exponent, kernel_std: settings of `WeightNormConv`.
      levels: number of levels of a pixel; the network works on (v + ½)/levels − ½.
      num_log_scales: 1, or one per channel.
      init_log_scale: their initial value, for images in [−1, 1].
      dtype: dtype of the convolutions.
    """

    channels: int
    downsampling: int
    num_scales: int
    num_blocks: int
    features: int
    num_latents: int
    kernel_size: int
    stem_kernel_size: int
    stem_stride: int
    flow: bool
    flow_layers: int
    flow_scale: float
    flow_init_scale: float
    residual_scale: float
    init_scale: float
    init_exponent: float
    kernel_std: float
    levels: int
    num_log_scales: int
    init_log_scale: float
    dtype: Any = jnp.float32

    # Fields on which a trained network's weights do not depend.
    free_fields = (
        "init_scale",
        "init_exponent",
        "init_log_scale",
        "num_log_scales",
        "kernel_std",
        "flow_init_scale",
        "dtype",
    )

    def setup(self) -> None:
        conv = partial(
            WeightNormConv,
            init_scale=self.init_scale,
            init_exponent=self.init_exponent,
            kernel_std=self.kernel_std,
            exponential_gain=True,
            dtype=self.dtype,
        )
        flow = partial(
            InverseAutoregressiveFlow,
            self.features,
            self.kernel_size,
            self.flow_layers,
            self.flow_scale,
            self.flow_init_scale,
            conv,
        )
        size = (self.stem_kernel_size,) * 2
        self.stem = conv(self.features, size, (self.stem_stride,) * 2)
        self.blocks = [
            Block(
                self.features,
                self.num_latents,
                self.kernel_size,
                downsample=scale > 0 and block == 0,
                residual_scale=self.residual_scale,
                flow=flow if self.flow else None,
                conv=conv,
            )
            for scale in range(self.num_scales)
            for block in range(self.num_blocks)
        ]
        self.top = self.param("top", nn.initializers.zeros, (self.features,))
        init_log_scale = nn.initializers.constant(self.init_log_scale)
        self.log_scale = self.param("log_scale", init_log_scale, (self.num_log_scales,))
        # The published deconvolution normalises its kernel over outputs instead of inputs, unlike
        # weight normalisation; with the data-dependent scale both start out the same.
        if self.downsampling <= self.stem_stride:
            strides = (self.stem_stride // self.downsampling,) * 2
            self.head = conv(self.channels, size, strides, transpose=True)
        else:  # below the finest latents
            self.head = conv(self.channels, size, (self.downsampling // self.stem_stride,) * 2)

    def __call__(self, x: Array, noise: Noise) -> Reconstruction:
        """Encodes and decodes images x [B, H, W, C] in [−1, 1]."""
        return self.decode(self.encode(x), (x.shape[1], x.shape[2]), noise)

    def encode(self, x: Array) -> list[Evidence]:
        """Bottom-up pass: images [B, H, W, C] in [−1, 1] to the evidence of each block."""
        self._check(x.shape)
        h = self.stem(x * ((self.levels - 1) / (2 * self.levels)))
        evidences = []
        for block in self.blocks:
            h, evidence = block.up(h)
            evidences.append(evidence)
        return evidences

    def decode(
        self,
        evidences: list[Evidence] | None,
        size: tuple[int, int],
        noise: Noise | None,
        latents: Sequence[Array | None] | None = None,
        temperature: float = 1.0,
        draw: Draw | None = None,
        batch: int = 0,
    ) -> Reconstruction:
        """Top-down pass with posteriors, priors (without evidence) or given latents.

        Args:
          evidences: from `encode`, or None.
          size: height and width of the encoded image.
          noise: draws the latents; None if all are given.
          latents: one [B, h, w, Z] per block, from the top, or None; those that are None among them
            are drawn.
          temperature: scales the standard deviation of the noise.
          draw, batch: what draws latents in place of noise, and how many.
        """
        top = self.stem_stride * 2 ** (self.num_scales - 1)
        height, width = size[0] // top, size[1] // top
        given = [None] * len(self.blocks) if latents is None else latents
        if given[0] is not None:
            batch = given[0].shape[0]
        elif draw is None:
            assert noise is not None  # needed because no latents are given
            batch = noise.index.shape[0]
        h = jnp.broadcast_to(self.top, (batch, height, width, self.features))
        drawn, kls = [], []
        for position, block in enumerate(reversed(self.blocks)):
            drawn_noise = None
            if given[position] is None and noise is not None:
                shape = (*h.shape[1:3], self.num_latents)
                drawn_noise = temperature * noise.layer(position).normal(*shape)
            h, z, kl = block.down(
                h,
                drawn_noise,
                None if evidences is None else evidences[-1 - position],
                given[position],
                draw,
            )
            drawn.append(z)
            kls.append(kl)
        # Its clip at ±(½ − 1/(2·levels)) is ±1 here.
        mean = jnp.clip(self.head(nn.elu(h)) * (2 * self.levels / (self.levels - 1)), -1, 1)
        return Reconstruction(mean, self.log_scale, jnp.stack(kls, 1), drawn)

    def choose(
        self,
        evidences: list[Evidence] | None,
        size: tuple[int, int],
        given: list[Array] | None,
        choose: Choose,
    ) -> tuple[list[Array], Reconstruction]:
        """Top-down pass in which `choose` chooses the latents as bins of `choices.latents_of`.

        They are in the units of the prior, whose bins are equally likely. Posteriors have no flow.

        Args:
          evidences, size: as for `decode`.
          given: the bins, for `choose`; None only with evidences.
          choose: chooses the bins of one block after another.

        Returns:
          The bins int32 [B, h, w, Z] of each block, from the top; and the output, without its KL.
        """
        bins: list[Array] = []

        def draw(posterior: tuple[Array, Array] | None, shape: tuple[int, ...]) -> Array:
            masses = uniform_masses(shape) if posterior is None else bin_masses(*posterior)
            own = jnp.zeros(shape, jnp.int32) if given is None else given[len(bins)]
            bins.append(choose(masses, own))
            return latents_of(bins[-1])

        batch = len(evidences[0].mean if given is None and evidences else (given or [])[0])
        return bins, self.decode(evidences, size, None, draw=draw, batch=batch)

    def _check(self, shape: tuple[int, ...]) -> None:
        if self.stem_stride % self.downsampling and self.downsampling % self.stem_stride:
            raise ValueError(
                f"a decoder {self.downsampling} times smaller than the image, after a stem of "
                f"stride {self.stem_stride}: one must divide the other; change vae.stem_stride"
            )
        multiple = self.stem_stride * 2 ** (self.num_scales - 1)
        if shape[1] % multiple or shape[2] % multiple:
            raise ValueError(
                f"images of {shape[1]}×{shape[2]} pixels do not fit {self.num_scales} scales below "
                f"a stem of stride {self.stem_stride}: height and width must be multiples of "
                f"{multiple}; lower vae.num_scales, or resize the images"
            )
