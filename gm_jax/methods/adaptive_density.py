"""Adaptive density estimation (Lucas, Shmelkov, Alahari, Schmid & Verbeek, 2019).

A VAE models the features f_ψ(x) of an invertible network; so its factored Gaussian decoder is
neither factored nor Gaussian over images. It is trained by maximum likelihood (L_C, Eq. 4) and, on
samples that f_ψ⁻¹ brings back to images, by a discriminator (L_Q, Eq. 5). Without f_ψ, or without
the discriminator, it is the paper's likelihood baselines (Table 1).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax import state as train_state
from gm_jax.dequantization import dequantize
from gm_jax.images import numbered
from gm_jax.losses.adversarial import generator_log_ratio, penalized_discriminator_terms
from gm_jax.networks import discriminators
from gm_jax.networks.feature_space_vae import FeatureSpaceVAE
from gm_jax.networks.top_down_vae import Decoding
from gm_jax.nn import per_example
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any
CHOICES = {
    "adversarial_sample": ("mean", "noise"),  # f_ψ⁻¹ of µ(z) (Eq. 5), or of a draw around it (H)
    "encoder_input": ("features", "image"),  # Algorithm 1, or Eq. 3
    "likelihood_unit": ("image", "dimension"),
}


class AdaptiveDensity:
    """The method: losses and the order of updates; its likelihood is a lower bound.

    The bound is on the density of dequantised images, itself a bound on that of discrete ones.

    Args:
      config: `model`, `optimizer` and `sample` of `configs/adaptive_density.py`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: of the labels, or None; needed where `model.class_conditional`.
    """

    likelihood_is_exact = False

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        model, weight = config.model, config.model.adversarial_weight
        for field, choices in CHOICES.items():
            if field in model and model[field] not in choices:
                raise ValueError(f"model.{field} is '{model[field]}'; choose among {choices}")
        for field, section in (("adversarial_weight", "discriminator"), ("invertible", "real_nvp")):
            if model[field] and section not in model:
                raise ValueError(
                    f"model.{field} is {model[field]}, but there is no model.{section}; choose a "
                    "model that has it, such as configs/adaptive_density.py:av_ade"
                )
        if model.invertible and model.ema_decay:
            raise ValueError(
                f"model.ema_decay is {model.ema_decay}: the running statistics of f_ψ do not fit "
                "averaged parameters; set it to 0"
            )
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.class_conditional, self.adversarial = model.class_conditional, weight != 0
        # Bits/dim alone would choose the end of the warm-up: such a run is judged at its end.
        self.validation_score = None if self.adversarial else "bits_per_dim"
        self.sample_from_mean = config.sample.from_mean
        dtype = jnp.dtype(model.matmul_dtype)
        classes = discriminators.check_classes(model.class_conditional, num_classes)
        self.vae = FeatureSpaceVAE(model, image_shape, levels, classes, dtype)
        if self.adversarial:
            self.discriminator = discriminators.create(model.discriminator, classes, dtype)
        self.optimizer = optimizers.create(config.optimizer)

    def init(self, rng: Array, batch: dict[str, Array]) -> TrainState:
        """Initialises every network on the images of `batch`."""
        vae_key, discriminator_key = jax.random.split(rng)
        index, label = per_example.global_index(batch), self._label(batch)
        params, statistics = self.vae.init(vae_key, batch["image"], index, label)
        players = {"generator": (self.vae.networks, self.optimizer)}
        if self.adversarial:
            x = distributions.scale_to_unit(batch["image"], self.levels)
            params["discriminator"] = self.discriminator.init(discriminator_key, x, label)["params"]
            players["discriminator"] = (("discriminator",), self.optimizer)
        return train_state.create(params, players, self.model.ema_decay > 0, statistics)

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """Algorithm 1: the discriminator moves, then f_ψ, encoder and decoder."""
        discriminator_key, generator_key = jax.random.split(jax.random.fold_in(rng, state.step))

        def discriminator_loss(params: Tree) -> tuple[Array, tuple[Tree, Tree]]:
            variables = train_state.with_statistics(state, params)
            return self._discriminator_loss(variables, batch, discriminator_key, axis_name)

        terms = {}
        if self.adversarial:
            # It learns while the generator warms up, too, so as not to meet it untrained.
            state, terms = train_state.update_player(
                state, "discriminator", ("discriminator",), self.optimizer, discriminator_loss,
                axis_name,
            )  # fmt: skip

        def generator_loss(params: Tree) -> tuple[Array, tuple[Tree, Tree]]:
            variables = train_state.with_statistics(state, params)
            return self._generator_loss(variables, batch, generator_key, axis_name, state.step)

        state, generator_terms = train_state.update_player(
            state, "generator", self.vae.networks, self.optimizer, generator_loss, axis_name
        )
        return train_state.advance(state, self.model.ema_decay), terms | generator_terms

    def _discriminator_loss(
        self, variables: Tree, batch: Tree, key: Array, axis_name: str | None
    ) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """The discriminator's side of L_Q, with its gradient penalty (Eq. 11)."""
        pixel_key, sample_key, fraction_key = jax.random.split(key, 3)
        index, label = per_example.global_index(batch, axis_name), self._label(batch)
        # Dequantised like the samples: else their grid alone would give real images away.
        real = 2 * dequantize(batch["image"], self.levels, pixel_key, index) - 1
        terms = penalized_discriminator_terms(
            lambda x: self._logits(variables, x, label),
            real,
            self._adversarial_sample(variables, sample_key, index, label),
            per_example.uniform(fraction_key, index, ()),
            self.model.gradient_penalty,
        )
        loss, logged = train_state.total(terms)
        return loss, (logged, {})

    def _generator_loss(
        self, variables: Tree, batch: Tree, key: Array, axis_name: str | None, step: Array
    ) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """L_C, after the warm-up + weight · L_Q, in nats an image (or, of L_C, a dimension)."""
        likelihood_key, sample_key = jax.random.split(key)
        index, label = per_example.global_index(batch, axis_name), self._label(batch)
        bound, statistics = self.vae.bound(
            variables, batch["image"], likelihood_key, index, label, True, axis_name
        )
        bits = distributions.bits_per_dim(jnp.mean(bound["log_likelihood"]), self.image_shape)
        unit = self.vae.dimensions if self.model.likelihood_unit == "dimension" else 1
        terms = {
            "reconstruction": -bound["reconstruction"] / unit,
            "kl": bound["kl"] / unit,
            "log_det": -bound["log_det"] / unit,
        }

        def loss_q() -> Array:
            fake = self._adversarial_sample(variables, sample_key, index, label)
            return jnp.mean(generator_log_ratio(self._logits(variables, fake, label)))

        if self.adversarial:
            warm = step >= self.model.warmup_steps
            adversarial = jax.lax.cond(warm, loss_q, lambda: jnp.zeros(()))
            terms["adversarial"] = self.model.adversarial_weight * adversarial
        loss, logged = train_state.total(terms)
        return loss, ({**logged, "bits_per_dim": bits}, statistics)

    def _logits(self, variables: Tree, x: Array, label: Array | None) -> Array:
        return self.discriminator.apply(variables["discriminator"], x, label)

    def _adversarial_sample(
        self, variables: Tree, key: Array, index: Array, label: Array | None
    ) -> Array:
        """f_ψ⁻¹ of the decoder's mean (or of a draw around it), [B, H, W, C] in [−1, 1]."""
        latent_key, noise_key = jax.random.split(key)
        decoding = self.vae.prior(variables, latent_key, index, label)
        features = decoding.mean
        if self.model.adversarial_sample == "noise":
            features += self.vae.noise(decoding, noise_key, index)
        # f_ψ learns from the likelihood alone (5.1).
        return 2 * self.vae.to_image(jax.lax.stop_gradient(variables), features) - 1

    def _label(self, batch: dict[str, Array]) -> Array | None:
        return discriminators.label_of(self.class_conditional, batch)

    def log_likelihood(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """`FeatureSpaceVAE.bound` on log p of the images, with running statistics, in nats [B]."""
        index, label = per_example.global_index(batch), self._label(batch)
        return self.vae.bound(variables, batch["image"], rng, index, label, train=False)[0]

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws latents from the prior, and maps the decoder's mean and a draw around it to images.

        Returns:
          `image`, as `sample.from_mean` says, and the other of `from_mean` and `with_noise`;
          uint8 [B, H, W, C].
        """
        discriminators.check_labels(self.class_conditional, labels)
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        latent_key, noise_key = jax.random.split(rng)
        decoding = self.vae.prior(variables, latent_key, index, labels, temperature)
        return self._images(variables, decoding, noise_key, index, temperature)

    def _images(
        self, variables: Tree, decoding: Decoding, key: Array, index: Array, temperature: float
    ) -> dict[str, Array]:
        from_mean, with_noise = self.vae.images(variables, decoding, key, index, temperature)
        if self.sample_from_mean:
            return {"with_noise": with_noise, "image": from_mean}
        return {"from_mean": from_mean, "image": with_noise}

    def reconstruct(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array, num_draws: int = 1
    ) -> dict[str, Array]:
        """Encodes images once and decodes them, `image` as `sample.from_mean` says.

        The further `num_draws` − 1 are draws around the mean.
        """
        latent_key, noise_key = jax.random.split(rng)
        latents = self.encode(variables, batch, latent_key)
        index, label = per_example.global_index(batch), self._label(batch)
        keys = jax.random.split(noise_key, num_draws)
        first, *others = (self.decode(variables, latents, key, index, label) for key in keys)
        noisy = "with_noise" if self.sample_from_mean else "image"
        return numbered([first["image"], *(drawn[noisy] for drawn in others)])

    def encode(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> list[Array]:
        """Draws latents from the posterior: the top [B, 1, 1, Z], then one [B, h, w, Z] a layer."""
        pixel_key, latent_key = jax.random.split(rng)
        index, label = per_example.global_index(batch), self._label(batch)
        x = dequantize(batch["image"], self.levels, pixel_key, index)
        features, _, _ = self.vae.to_features(variables, x, train=False)
        return self.vae.posterior(variables, features, x, latent_key, index, label).latents

    def decode(
        self, variables: dict[str, Tree], latents: list[Array], rng: Array, index: Array,
        labels: Array | None = None,
    ) -> dict[str, Array]:  # fmt: skip
        """Images given latents of `encode`, named as those of `sample`, uint8 [B, H, W, C]."""
        discriminators.check_labels(self.class_conditional, labels)
        decoding = self.vae.given(variables, latents, index, labels)
        return self._images(variables, decoding, rng, index, 1.0)
