"""The GAN that adaptive density estimation is compared with (Lucas et al., 2019, 5.1).

The generator is the VAE's decoder without latents below the top: SNGAN's without residuals, and, as
the VAE's, with weight normalisation and ELU in place of batch norm and ReLU. It has no likelihood;
`gan_likelihood` trains one around it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import optimizers
from gm_jax import state as train_state
from gm_jax.dequantization import dequantize, requantize
from gm_jax.losses.adversarial import generator_log_ratio, penalized_discriminator_terms
from gm_jax.networks import discriminators
from gm_jax.networks.top_down_vae import Decoder
from gm_jax.nn import per_example
from gm_jax.nn.weight_norm import data_dependent_init
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any


class Gan:
    """The method: networks, losses and the order of updates, as pure functions.

    Args:
      config: `model` and `optimizer` of `configs/adaptive_density.py:gan`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: of the labels, or None; needed where `model.class_conditional`.
    """

    generator_networks = ("decoder",)  # all that `generate` reads

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        model = config.model
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.class_conditional = model.class_conditional
        self.num_latents = model.generator.top_latents
        classes = discriminators.check_classes(model.class_conditional, num_classes)
        dtype = jnp.dtype(model.matmul_dtype)
        self.decoder = Decoder(
            image_shape=self.image_shape,
            num_latents=0,
            flow=False,
            flow_layers=0,
            flow_scale=0.0,
            init_log_std=None,
            num_classes=classes,
            dtype=dtype,
            **model.generator,
        )
        self.discriminator = discriminators.create(model.discriminator, classes, dtype)
        self.optimizer = optimizers.create(config.optimizer)

    def init(self, rng: Array, batch: dict[str, Array]) -> TrainState:
        """Initialises both networks, the generator on as many latents as `batch` has images."""
        latent_key, generator_key, discriminator_key = jax.random.split(rng, 3)
        index, label = per_example.global_index(batch), self._label(batch)
        latents = self._latents(latent_key, index)[:, None, None]
        decoding, decoder = data_dependent_init(
            self.decoder, generator_key, None, None, index, label, [latents]
        )
        discriminator = self.discriminator.init(discriminator_key, decoding.mean, label)
        params = {"decoder": decoder["params"], "discriminator": discriminator["params"]}
        players = {
            "generator": (("decoder",), self.optimizer),
            "discriminator": (("discriminator",), self.optimizer),
        }
        return train_state.create(params, players, self.model.ema_decay > 0)

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update of the discriminator, then one of the generator."""
        discriminator_key, generator_key = jax.random.split(jax.random.fold_in(rng, state.step))
        index, label = per_example.global_index(batch, axis_name), self._label(batch)

        def discriminator_loss(params: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
            variables = train_state.with_statistics(state, params)
            return self._discriminator_loss(variables, batch, discriminator_key, index, label)

        state, terms = train_state.update_player(
            state, "discriminator", ("discriminator",), self.optimizer, discriminator_loss,
            axis_name,
        )  # fmt: skip

        def generator_loss(params: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
            variables = train_state.with_statistics(state, params)
            adversarial = self._generator_loss(variables, generator_key, index, label)
            loss, logged = train_state.total({"adversarial": adversarial})
            return loss, (logged, {})

        state, generator_terms = train_state.update_player(
            state, "generator", ("decoder",), self.optimizer, generator_loss, axis_name
        )
        return train_state.advance(state, self.model.ema_decay), terms | generator_terms

    def _discriminator_loss(
        self, variables: Tree, batch: Tree, key: Array, index: Array, label: Array | None
    ) -> tuple[Array, tuple[dict[str, Array], Tree]]:
        """Cross-entropy and gradient penalty (Eq. 11), nats an image."""
        pixel_key, latent_key, fraction_key = jax.random.split(key, 3)
        # Dequantised, as samples are continuous: else their grid would give real images away.
        real = 2 * dequantize(batch["image"], self.levels, pixel_key, index) - 1
        terms = penalized_discriminator_terms(
            lambda x: self.discriminator.apply(variables["discriminator"], x, label),
            real,
            self.generate(variables, self._latents(latent_key, index), label),
            per_example.uniform(fraction_key, index, ()),
            self.model.gradient_penalty,
        )
        loss, logged = train_state.total(terms)
        return loss, (logged, {})

    def _generator_loss(
        self, variables: Tree, key: Array, index: Array, label: Array | None
    ) -> Array:
        """L_Q (Eq. 5), nats [B]."""
        fake = self.generate(variables, self._latents(key, index), label)
        logits = self.discriminator.apply(variables["discriminator"], fake, label)
        return generator_log_ratio(logits)

    def generate(
        self, variables: dict[str, Tree], latents: Array, labels: Array | None = None
    ) -> Array:
        """Maps latents float [B, Z] to images float32 [B, H, W, C] in [−1, 1], differentiably.

        Args:
          variables: {network: {collection: tree}} of `generator_networks`, at least.
          latents: standard normal.
          labels: int32 [B] where the model is class-conditional, else None.
        """
        index = jnp.arange(latents.shape[0], dtype=jnp.int32)
        given = [latents[:, None, None]]
        decoding = self.decoder.apply(variables["decoder"], None, None, index, labels, given)
        return jnp.tanh(decoding.mean)  # as SNGAN's generator ends

    def _latents(self, key: Array, index: Array) -> Array:
        return per_example.normal(key, index, (self.num_latents,))

    def _label(self, batch: dict[str, Array]) -> Array | None:
        return discriminators.label_of(self.class_conditional, batch)

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws latents and maps them to `image`."""
        discriminators.check_labels(self.class_conditional, labels)
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        x = self.generate(variables, temperature * self._latents(rng, index), labels)
        return {"image": requantize((x + 1) / 2, self.levels)}
