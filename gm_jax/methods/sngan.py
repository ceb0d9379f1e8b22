"""The GAN with spectral normalisation (Miyato et al., 2018).

Every weight of the discriminator is divided by its largest singular value, so that its slope is
bounded whatever it learns (Eq. 8); the losses are the hinge's (Eqs. 16 and 17). Both are values of
the page.
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

    The authors' code begins with the generator, which is the same but for the first step. The power
    iteration moves once an update of the discriminator; theirs moves once a forward, of real
    images, of samples and in the generator's update.
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
        """Initialises both; the running statistics are those of as many samples as images."""
        keys, label = jax.random.split(key), self.label(batch)
        latents = noise.normal(self.num_latents)
        return {
            "generator": self.generator.init(keys[0], latents, label, True),
            "discriminator": self.discriminator.init(keys[1], self.scale(batch["image"]), label),
        }

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−D(G(z)) (Eq. 17) of more samples than the discriminator has seen in an update."""
        many, label = self.model.samples_per_image, self.label(batch)
        latents = noise.normal(many, self.num_latents).reshape(-1, self.num_latents)
        labels = None if label is None else jnp.repeat(label, many)
        return self.loss_of_samples(variables, latents, labels)

    def generate_in_training(
        self, variables: Variables, latents: Array, labels: Array | None
    ) -> tuple[Array, Variables]:
        """Images by the moments of the global batch, and new running ones."""
        images, statistics = self.generator.apply(
            variables["generator"], latents, labels, train=True, mutable=["batch_stats"]
        )
        return images, {"generator": statistics}

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps standard normal latents [B, Z] to images in [−1, 1] by the running statistics."""
        return cast(Array, self.generator.apply(variables["generator"], latents, labels))
