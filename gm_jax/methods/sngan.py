"""The GAN with spectral normalisation (Miyato et al., 2018).

Every weight of the discriminator is divided by its largest singular value, which bounds the
discriminator's slope (Eq. 8); the loss is the hinge (Eqs. 16 and 17). The config sets both.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax.data.fields import DataSpec
from gm_jax.methods.gan import Gan
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.networks import sngan

Array = jax.Array


class Sngan(Gan):
    """Several updates of the discriminator, each on a fresh batch, then one of the generator.

    The authors' code starts with the generator, which differs in the first step only. Here the
    power iteration moves once per discriminator update; theirs moves at every forward pass: on real
    images, on samples and in the generator's update.
    """

    generator_networks = ("generator",)

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        if config.model.samples_per_image < 1:
            raise ValueError(
                f"model.samples_per_image is {config.model.samples_per_image}; give 1 or more "
                "(published: 2)"
            )
        self.players = self.alternate(config.model.critic_steps)

    def create_networks(self, classes: int | None) -> None:
        """Sets `discriminator`, `generator` and `num_latents`."""
        model, shared = self.model, {"num_classes": classes, "dtype": self.dtype}
        self.num_latents = model.num_latents
        self.generator = sngan.create_generator(model.generator, self.image_shape, **shared)
        self.discriminator = sngan.create_discriminator(
            model.discriminator, layers=self.lipschitz.layers, **shared
        )

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises both; the running statistics are those of a sample for each image."""
        keys, label = jax.random.split(key), self.label(batch)
        latents = noise.normal(self.num_latents)
        return {
            "generator": self.generator.init(keys[0], latents, label, True),
            "discriminator": self.discriminator.init(keys[1], self.scale(batch["image"]), label),
        }

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−D(G(z)) (Eq. 17), on `samples_per_image` times as many samples as the discriminator."""
        many, label = self.model.samples_per_image, self.label(batch)
        latents = noise.normal(many, self.num_latents).reshape(-1, self.num_latents)
        labels = None if label is None else jnp.repeat(label, many)
        return self.loss_of_samples(variables, latents, labels, noise)

    def generate_in_training(
        self, variables: Variables, latents: Array, labels: Array | None
    ) -> tuple[Array, Variables]:
        """Images normalised by the global batch's moments, and the new running moments."""
        images, statistics = self.generator.apply(
            variables["generator"], latents, labels, train=True, mutable=["batch_stats"]
        )
        return images, {"generator": statistics}

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps standard normal latents [B, Z] to images in [−1, 1], with running statistics."""
        return cast(Array, self.generator.apply(variables["generator"], latents, labels))
