"""Adaptive density estimation (Lucas, Shmelkov, Alahari, Schmid & Verbeek, 2019).

A VAE models the features f_ψ(x) of an invertible network, p(x) = p_θ(f_ψ(x)) |det ∂f_ψ/∂x|, so its
factored Gaussian decoder N(µ_θ(z), σ² I) is neither factored nor Gaussian over images. It is
trained by maximum likelihood (L_C, Eq. 4) and by a discriminator (L_Q, Eq. 5) on samples that f_ψ⁻¹
maps back to images. Without f_ψ, or without the discriminator, it gives the paper's likelihood
baselines (Table 1).
"""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.dequantization import dequantize, requantize
from gm_jax.flows.dequantise import Dequantise
from gm_jax.flows.transform import Context
from gm_jax.losses import adversarial
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks import discriminators
from gm_jax.networks.feature_space_vae import FeatureSpaceVAE
from gm_jax.networks.top_down_vae import Decoding

Array = jax.Array
LOSS = adversarial.create("log_ratio")  # L_Q
CHOICES = {
    "adversarial_sample": ("mean", "noise"),  # f_ψ⁻¹ of µ(z) (Eq. 5), or of a draw around it (H)
    "encoder_input": ("features", "image"),  # Algorithm 1, or Eq. 3
    "likelihood_unit": ("image", "dimension"),
}


class AdaptiveDensity(Method):
    """Algorithm 1: the discriminator moves, then f_ψ, encoder and decoder.

    It bounds the density of dequantised images, which in turn bounds that of discrete images.
    """

    likelihood = "bound"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        _check(model)
        classes = self.condition_on_classes(model.class_conditional)
        self.vae = FeatureSpaceVAE(model, self.image_shape, classes, self.dtype)
        optimizer = optimizers.create(config.optimizer, player="generator")
        generator = Player("generator", self.vae.networks, optimizer, self.generator_loss)
        self.players, self.adversarial = (generator,), model.adversarial_weight != 0
        if self.adversarial:
            # Bits/dim alone would select the end of the warm-up, so the latest checkpoint counts.
            self.validation_score = None
            self.discriminator = discriminators.create(model.discriminator, classes, self.dtype)
            networks = ("discriminator",)
            # It also learns while the generator warms up, so that it is trained when they meet.
            optimizer = optimizers.create(config.optimizer, player="discriminator")
            critic = Player("discriminator", networks, optimizer, self.discriminator_loss)
            self.players = (critic, generator)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises every network on data."""
        keys, (pixels, latents) = jax.random.split(key), noise.split()
        label = self.label(batch)
        variables = self.vae.init(keys[0], self._dequantised(batch, pixels), latents, label)
        if self.adversarial:
            x = self.scale(batch["image"])
            variables["discriminator"] = self.discriminator.init(keys[1], x, label)
        return variables

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """The discriminator's side of L_Q, with its gradient penalty (Eq. 11)."""
        pixels, sample_noise, fraction = noise.split(3)
        label = self.label(batch)
        return Loss(
            adversarial.discriminator_terms(
                LOSS,
                lambda x: self._judged(variables, x, label),
                # Samples are continuous, so real images are dequantised: else their grid shows.
                2 * self._dequantised(batch, pixels) - 1,
                self._adversarial_sample(variables, sample_noise, label),
                fraction.uniform(),
                self.model.gradient_penalty,
            )
        )

    def _judged(self, variables: Variables, x: Array, label: Array | None) -> Array:
        """The discriminator's logits [B]."""
        return cast(Array, self.discriminator.apply(variables["discriminator"], x, label))

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """L_C, plus weight · L_Q after the warm-up, in nats per image (L_C: or per dimension)."""
        likelihood_noise, sample_noise = noise.split()
        bound, statistics = self._bound(variables, batch, likelihood_noise, train=True)
        dimensions = math.prod(self.image_shape)
        unit = dimensions if self.model.likelihood_unit == "dimension" else 1
        signs = {"reconstruction": -1, "kl": 1, "log_det": -1}
        terms = {name: sign * bound[name] / unit for name, sign in signs.items()}

        def loss_q() -> Array:
            label = self.label(batch)
            fake = self._adversarial_sample(variables, sample_noise, label)
            return jnp.mean(LOSS.generator(self._judged(variables, fake, label)))

        if self.adversarial:
            warm = step >= self.model.warmup_steps
            mean = jax.lax.cond(warm, loss_q, lambda: jnp.zeros(()))
            terms["adversarial"] = self.model.adversarial_weight * mean
        return Loss(terms, {"bits_per_dim": self.bits(bound["log_likelihood"])}, statistics)

    def _bound(
        self, variables: Variables, batch: Batch, noise: Noise, train: bool
    ) -> tuple[dict[str, Array], Variables]:
        """One-sample bound (−L_C of Eq. 4) in nats [B], and the new statistics of f_ψ."""
        pixels, latents = noise.split()
        # Dequantisation is not part of the chain f_ψ: the encoder may see x too, and the chain's
        # inverse would round the samples, so that no gradient would reach the generator.
        dequantise = Dequantise(self.levels)
        x, of_levels = dequantise.forward_and_log_det(batch["image"], Context(train, pixels))
        features, log_det, statistics = self.vae.to_features(variables, x, train)
        decoding = self.vae.posterior(variables, features, x, latents, self.label(batch))
        assert decoding.log_std is not None  # a VAE's decoder has it
        log_prob = distributions.gaussian_log_prob(features, decoding.mean, decoding.log_std)
        parts = {
            "reconstruction": jnp.sum(log_prob, (1, 2, 3)),
            "kl": jnp.sum(decoding.kl, 1),
            "log_det": of_levels + log_det,
        }
        total = parts["reconstruction"] - parts["kl"] + parts["log_det"]
        return {"log_likelihood": total, **parts}, statistics

    def _adversarial_sample(self, variables: Variables, noise: Noise, label: Array | None) -> Array:
        """f_ψ⁻¹ of the decoder's mean (or of a draw around it), [B, H, W, C] in [−1, 1]."""
        latents, pixels = noise.split()
        decoding = self.vae.prior(variables, latents, label)
        features = decoding.mean
        if self.model.adversarial_sample == "noise":
            features += self._deviation(decoding, pixels)
        # f_ψ learns from the likelihood alone (5.1).
        return 2 * self.vae.to_image(jax.lax.stop_gradient(variables), features) - 1

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound, with running statistics.

        Returns:
          `log_likelihood` = `reconstruction` − `kl` + `log_det`: ln p(f_ψ(x) | z); ln q(z|x) − ln
          p(z); and ln|det| of the map from dequantised pixels in [0, levels) to features.
        """
        return self._bound(variables, batch, noise, train=False)[0]

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws latents, and maps the decoder's mean and a draw around it to images.

        `sample.from_mean` chooses which of them is `image`; the other is `with_noise` (the draw) or
        `from_mean` (the mean).
        """
        latents, pixels = noise.split()
        decoding = self.vae.prior(variables, latents, labels, temperature)
        return self._images(variables, decoding, pixels, temperature)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> list[Array]:
        """Draws latents from the posterior: the top [B, 1, 1, Z], then a [B, h, w, Z] per layer."""
        pixels, latents = noise.split()
        x = self._dequantised(batch, pixels)
        features, _, _ = self.vae.to_features(variables, x, train=False)
        return self.vae.posterior(variables, features, x, latents, self.label(batch)).latents

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Decodes latents to images, named as in `draw`."""
        decoding = self.vae.given(variables, latents, self.check_labels(labels))
        return self._images(variables, decoding, noise, 1.0)

    def _images(
        self, variables: Variables, decoding: Decoding, noise: Noise, temperature: float
    ) -> dict[str, Array]:
        noisy = decoding.mean + temperature * self._deviation(decoding, noise)
        of_mean, of_draw = (
            requantize(self.vae.to_image(variables, features), self.levels)
            for features in (decoding.mean, noisy)
        )
        if self.config.sample.from_mean:
            return {"with_noise": of_draw, "image": of_mean}
        return {"from_mean": of_mean, "image": of_draw}

    def _deviation(self, decoding: Decoding, noise: Noise) -> Array:
        """σ·ε of the decoder's Gaussian, [B, H, W, C]."""
        assert decoding.log_std is not None  # a VAE's decoder has it
        return jnp.exp(decoding.log_std) * noise.normal(*self.image_shape)

    def _dequantised(self, batch: Batch, noise: Noise) -> Array:
        """Images in [0, 1]."""
        return dequantize(batch["image"], self.levels, noise)


def _check(model: Any) -> None:
    """Refuses unknown choices, and models that lack a section they need."""
    for field, choices in CHOICES.items():
        if field in model and model[field] not in choices:
            raise ValueError(f"model.{field} is '{model[field]}'; choose among {choices}")
    for field, section in (("adversarial_weight", "discriminator"), ("invertible", "real_nvp")):
        if model[field] and section not in model:
            raise ValueError(
                f"model.{field} is {model[field]}, but there is no model.{section}; choose a "
                "model that has it, such as configs/adaptive_density.py:av_ade"
            )
