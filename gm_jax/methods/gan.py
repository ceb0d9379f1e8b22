"""The GAN baseline of adaptive density estimation (Lucas et al., 2019, 5.1).

The generator is the VAE's decoder with latents at the top only: SNGAN's generator without
residuals, with weight normalisation and ELU in place of batch norm and ReLU, as in the VAE. It has
no likelihood; `gan_likelihood` trains one around it. The config chooses the losses and how the
discriminator's slope is controlled; the paper uses a log-ratio and a gradient penalty.
"""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.lipschitz import Lipschitz
from gm_jax.losses import adversarial
from gm_jax.losses.adversarial import AdversarialLoss
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks import discriminators
from gm_jax.networks.top_down_vae import Decoder, Decoding
from gm_jax.nn import spectral_norm
from gm_jax.nn.layers import Layers
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array


class Gan(Method):
    """Two players: the discriminator moves, then the generator.

    A GAN with other networks overrides `create_networks`, `init_networks`, `generate`,
    `generator_networks` and, if its generator has running statistics, `generate_in_training`. One
    whose losses have their own fields overrides `create_loss`.
    """

    generator_networks: tuple[str, ...] = ("decoder",)
    players: tuple[Player, ...]

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        self.adversarial_loss = self.create_loss()
        self.lipschitz = Lipschitz.create(model)
        self.create_networks(self.condition_on_classes(model.class_conditional))
        self.players = self.alternate(1)

    def create_loss(self) -> AdversarialLoss:
        """The losses of both players; the page names the pair."""
        return adversarial.create(self.model.adversarial_loss)

    def create_networks(self, classes: int | None) -> None:
        """Sets `discriminator`, the generator and `num_latents`."""
        model = self.model
        self.num_latents = model.generator.top_latents
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
        self.discriminator = discriminators.create(
            model.discriminator, classes, self.dtype, self.critic_layers
        )

    @property
    def critic_layers(self) -> Layers:
        """The kind of layers that the discriminator uses."""
        return self.lipschitz.layers

    def alternate(self, critic_steps: int, generator_steps: int = 1) -> tuple[Player, ...]:
        """Updates of the discriminator, each on a fresh batch, then updates of the generator."""
        config = self.config.optimizer
        optimizer = self.lipschitz.constrain(
            optimizers.create(config, critic_steps, "discriminator")
        )
        critic = Player("discriminator", ("discriminator",), optimizer, self.discriminator_loss)
        optimizer = optimizers.create(config, generator_steps, "generator")
        generator = Player("generator", self.generator_networks, optimizer, self.generator_loss)
        return (
            *(critic.on_batch(number) for number in range(critic_steps)),
            *(generator,) * generator_steps,
        )

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the generator on a latent for each image of `batch`, then its critic."""
        keys, label = jax.random.split(key), self.label(batch)
        latents = [noise.normal(1, 1, self.num_latents)]
        decoding, decoder = data_dependent_init(self.decoder, keys[0], None, noise, label, latents)
        discriminator = self.discriminator.init(keys[1], decoding.mean, label)
        return {"decoder": decoder, "discriminator": discriminator}

    def discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """The adversarial loss and, if the slope is controlled so, a gradient penalty (Eq. 11)."""
        variables, statistics = self.iterate(variables, batch)
        judged = self.judged(variables, batch, noise)
        terms = adversarial.discriminator_terms(
            self.adversarial_loss, *judged, self.lipschitz.penalty_weight
        )
        return Loss(terms, statistics=statistics)

    def iterate(self, variables: Variables, batch: Batch) -> tuple[Variables, Variables]:
        """Iterates the discriminator's singular vectors, once per update.

        Returns:
          The variables for the update, and the new {network: statistics}: {} without spectral
          normalisation.
        """
        example = jax.tree.map(lambda leaf: leaf[:1], batch)
        moved, statistics = spectral_norm.iterate(
            self.discriminator,
            variables["discriminator"],
            self.unit(example),
            self.label(example),
        )
        moved = {**variables, "discriminator": moved}
        return moved, {"discriminator": statistics} if statistics else {}

    def unit(self, batch: Batch) -> Array:
        """The batch's images in [−1, 1], or its points as they are."""
        return self.scale(batch["image"]) if "image" in self.data else batch["point"]

    def judged(
        self, variables: Variables, batch: Batch, noise: Noise
    ) -> tuple[Callable[[Array], Array], Array, Array, Array]:
        """The discriminator, x and G(z) in [−1, 1], and the weight ε, float [B], between them."""
        pixels, latents, fraction = noise.split(3)
        label = self.label(batch)
        real = self.real(batch, pixels)
        fake, _ = self.generate_in_training(variables, latents.normal(self.num_latents), label)

        def discriminator(x: Array) -> Array:
            return self.judge(variables, x, label, noise)

        return discriminator, real, fake, fraction.uniform()

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """The generator's adversarial loss (in the paper L_Q, Eq. 5)."""
        latents = noise.normal(self.num_latents)
        return self.loss_of_samples(variables, latents, self.label(batch), noise)

    def loss_of_samples(
        self, variables: Variables, latents: Array, label: Array | None, noise: Noise
    ) -> Loss:
        """The generator's loss on samples from latents [B, Z], with its new running statistics."""
        fake, statistics = self.generate_in_training(variables, latents, label)
        logits = self.judge(variables, fake, label, noise)
        return Loss({"adversarial": self.adversarial_loss.generator(logits)}, statistics=statistics)

    def judge(self, variables: Variables, x: Array, label: Array | None, noise: Noise) -> Array:
        """The discriminator's outputs in training, [B]; only its dropout would take `noise`."""
        return cast(Array, self.discriminator.apply(variables["discriminator"], x, label))

    def generate_in_training(
        self, variables: Variables, latents: Array, labels: Array | None
    ) -> tuple[Array, Variables]:
        """Images as from `generate`, and the updated running statistics, {network: statistics}."""
        return self.generate(variables, latents, labels), {}

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps standard normal latents [B, Z] to images in [−1, 1]."""
        given = [latents[:, None, None]]
        decoding = self.decoder.apply(variables["decoder"], None, None, labels, given)
        return jnp.tanh(cast(Decoding, decoding).mean)  # tanh as in SNGAN's generator

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws latents and maps them to `image` or `point`."""
        latents = temperature * noise.normal(self.num_latents)
        return self.examples(self.generate(variables, latents, labels))
