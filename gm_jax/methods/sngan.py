"""The GAN with spectral normalisation (Miyato et al., 2018).

Every weight of the discriminator is divided by its largest singular value, which bounds the
discriminator's slope (Eq. 8); the loss is the hinge (Eqs. 16 and 17). The config sets both.
"""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.data.fields import DataSpec, main_field
from gm_jax.methods.gan import Gan
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.networks import sngan
from gm_jax.networks.mlp import Mlp

Array = jax.Array


class Sngan(Gan):
    """Several updates of the discriminator, each on a fresh batch, then one of the generator.

    Points in place of images take multilayer perceptrons. The authors' code starts with the
    generator, which differs in the first step only. Here the power iteration moves once per
    discriminator update; theirs moves at every forward pass: on real images, on samples and in the
    generator's update.
    """

    needs = ()  # images or points
    generator_networks = ("generator",)
    generator: nn.Module

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.players = self.alternate(config.model.critic_steps)
        if self.lipschitz.penalty_weight and (obstacle := self.penalty_obstacle()):
            raise ValueError(
                "model.lipschitz is 'penalty', which takes the gradient of each example's logit "
                f"alone, but {obstacle}; choose none, clipping or spectral_norm"
            )

    def penalty_obstacle(self) -> str:
        """Why a penalty on each example's gradient makes no sense; "" if it does."""
        if (kind := self.discriminator.batch_features) == "none":
            return ""
        return f"model.discriminator.batch_features is '{kind}'"

    def create_networks(self, classes: int | None) -> None:
        """Sets `discriminator`, `generator` and `num_latents`."""
        model = self.model
        shared: dict[str, Any] = {"num_classes": classes, "dtype": self.dtype}
        of_critic = {**shared, "layers": self.critic_layers}
        self.num_latents = model.num_latents
        modelled = main_field(self.data)
        for_images = "kind" in model.generator and "kind" in model.discriminator
        if modelled not in ("image", "point") or (modelled == "image") != for_images:
            raise ValueError(
                f"data.source '{self.config.data.source}' has {modelled}s, but the networks of "
                f"variant '{self.config.variant}' are for {'images' if for_images else 'points'}: "
                "choose another data.source or variant"
            )
        if for_images:
            self.generator = sngan.create_generator(model.generator, self.image_shape, **shared)
            self.discriminator = sngan.create_discriminator(model.discriminator, **of_critic)
        else:
            (outputs,) = self.data["point"].shape
            self.generator = Mlp(outputs=outputs, **model.generator, **shared)
            self.discriminator = Mlp(outputs=None, **model.discriminator, **of_critic)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises both; the running statistics are those of a sample for each example."""
        keys, label = jax.random.split(key), self.label(batch)
        latents = noise.normal(self.num_latents)
        return {
            "generator": self.generator.init(keys[0], latents, label, True),
            "discriminator": self.discriminator.init(keys[1], self.unit(batch), label),
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
        """Samples normalised by the global batch's moments, and the new running moments."""
        samples, statistics = self.generator.apply(
            variables["generator"], latents, labels, train=True, mutable=["batch_stats"]
        )
        return samples, {"generator": statistics} if statistics else {}

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps standard normal latents [B, Z] to images in [−1, 1], or points.

        The running statistics normalise.
        """
        return cast(Array, self.generator.apply(variables["generator"], latents, labels))
