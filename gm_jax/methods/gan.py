"""The GAN that adaptive density estimation is compared with (Lucas et al., 2019, 5.1).

The generator is the VAE's decoder without latents below the top: SNGAN's without residuals, and, as
the VAE's, with weight normalisation and ELU in place of batch norm and ReLU. It has no likelihood;
`gan_likelihood` trains one around it.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.dequantization import dequantize, requantize
from gm_jax.losses.adversarial import generator_log_ratio, penalized_discriminator_terms
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks import discriminators
from gm_jax.networks.top_down_vae import Decoder, Decoding
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array


class Gan(Method):
    """Two players: the discriminator moves, then the generator."""

    generator_networks = ("decoder",)
    players: tuple[Player, ...]

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        classes = self.condition_on_classes(model.class_conditional)
        self.ema_decay, self.num_latents = model.ema_decay, model.generator.top_latents
        self.decoder = Decoder(
            image_shape=self.image_shape,
            num_latents=0,
            flow=False,
            flow_layers=0,
            flow_scale=0.0,
            init_log_std=None,
            num_classes=classes,
            dtype=self.dtype,
            **model.generator,
        )
        self.discriminator = discriminators.create(model.discriminator, classes, self.dtype)
        optimizer = optimizers.create(config.optimizer)
        self.players = (
            Player("discriminator", ("discriminator",), optimizer, self.discriminator_loss),
            Player("generator", ("decoder",), optimizer, self.generator_loss),
        )

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the generator on as many latents as `batch` has images, then its critic."""
        keys, label = jax.random.split(key), self.label(batch)
        latents = [noise.normal(1, 1, self.num_latents)]
        decoding, decoder = data_dependent_init(self.decoder, keys[0], None, noise, label, latents)
        discriminator = self.discriminator.init(keys[1], decoding.mean, label)
        return {"decoder": decoder, "discriminator": discriminator}

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """Cross-entropy and gradient penalty (Eq. 11), nats an image."""
        return Loss(
            penalized_discriminator_terms(
                *self.judged(variables, batch, noise),
                self.model.gradient_penalty,
            )
        )

    def judged(
        self, variables: Variables, batch: Batch, noise: Noise
    ) -> tuple[Callable[[Array], Array], Array, Array, Array]:
        """The discriminator, x and G(z) in [−1, 1], and ε, float [B], which lies between them."""
        pixels, latents, fraction = noise.split(3)
        label = self.label(batch)
        # Dequantised, as samples are continuous: else their grid would give real images away.
        real = 2 * dequantize(batch["image"], self.levels, pixels) - 1
        fake = self.generate(variables, latents.normal(self.num_latents), label)

        def discriminator(x: Array) -> Array:
            return cast(Array, self.discriminator.apply(variables["discriminator"], x, label))

        return discriminator, real, fake, fraction.uniform()

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """L_Q (Eq. 5), nats an image."""
        label = self.label(batch)
        fake = self.generate(variables, noise.normal(self.num_latents), label)
        logits = self.discriminator.apply(variables["discriminator"], fake, label)
        return Loss({"adversarial": generator_log_ratio(cast(Array, logits))})

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps standard normal latents [B, Z] to images in [−1, 1]."""
        given = [latents[:, None, None]]
        decoding = self.decoder.apply(variables["decoder"], None, None, labels, given)
        return jnp.tanh(cast(Decoding, decoding).mean)  # as SNGAN's generator ends

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws latents and maps them to `image`."""
        latents = temperature * noise.normal(self.num_latents)
        x = self.generate(variables, latents, labels)
        return {"image": requantize((x + 1) / 2, self.levels)}
