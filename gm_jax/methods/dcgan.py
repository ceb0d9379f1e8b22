"""The DCGAN (Radford et al., 2016), as the baseline of α-GAN (Rosca et al., 2017, appendix H).

Its discriminator and generator are those of α-GAN, with batch norm; the discriminator minimises the
cross-entropy, and the generator −ln D of its samples (Eqs. 1 and 2): the config sets the loss
`non_saturating`. `wgan_gp.DcganWganGp` trains the same networks as a Wasserstein GAN.
"""

from typing import Any, cast

import jax

from gm_jax.data.fields import DataSpec
from gm_jax.methods.gan import Gan
from gm_jax.methods.method import Batch, Method, Noise, Variables
from gm_jax.networks import dcgan

Array = jax.Array


class Dcgan(Gan):
    """An update of the discriminator, then two of the generator.

    In training both normalise by the moments of the batch that they are given, which holds images
    or samples alone. Samples for evaluation are normalised by the generator's moments over its own
    updates: running averages, or those that are estimated anew before scoring.
    """

    generator_networks = ("generator",)

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.players = self.alternate(1, generator_steps=2)

    def create_networks(self, classes: int | None) -> None:
        """Sets `discriminator`, `generator` and `num_latents`."""
        if classes is not None:
            raise ValueError(
                "model.class_conditional is True, and the DCGAN's networks take no labels; set it "
                "to False, or take configs/sngan.py"
            )
        model = self.model
        self.num_latents = model.num_latents
        self.generator = dcgan.Generator(self.image_shape, dtype=self.dtype, **model.generator)
        self.discriminator = dcgan.Discriminator(
            kind=self.lipschitz.layers, dtype=self.dtype, **model.discriminator
        )

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises both; the running averages are those of a sample for each image."""
        keys, latents = jax.random.split(key), noise.normal(self.num_latents)
        return {
            "generator": self.generator.init(keys[0], latents, True),
            "discriminator": self.discriminator.init(keys[1], self.scale(batch["image"])),
        }

    def judge(self, variables: Variables, x: Array, label: Array | None, noise: Noise) -> Array:
        """The discriminator's outputs, [B]; an example's dropout is one in all calls of a loss."""
        rngs = {"dropout": noise.shared()}
        logits = self.discriminator.apply(variables["discriminator"], x, noise.index, rngs=rngs)
        return cast(Array, logits)

    def generate_in_training(
        self, variables: Variables, latents: Array, labels: Array | None
    ) -> tuple[Array, Variables]:
        """Images normalised by the global batch's moments, and the new running averages."""
        images, moved = self.generator.apply(
            variables["generator"], latents, True, mutable=["batch_stats"]
        )
        return images, {"generator": moved}

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps standard normal latents [B, Z] to images in [−1, 1], with running averages."""
        return cast(Array, self.generator.apply(variables["generator"], latents))
