"""What methods share whose PixelCNN draws an image given f(z), a function of the latents."""

from typing import Any, cast

import jax

from gm_jax import distributions
from gm_jax.methods.latent_layers import LatentLayers
from gm_jax.methods.method import Batch, Noise, Variables
from gm_jax.networks.pixel_distributions import LogisticMixture
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.networks.pixelcnn_sampling import Sampler

Array = jax.Array


class ConditionalPixelCNN(LatentLayers):
    """Networks `condition` and `pixelcnn` give p(x | f(z)).

    A method defines `encoded` and `sketch`, and `conditions` and `pictures` where f(z) is not what
    these take.
    """

    condition: ConditionStream
    pixelcnn: PixelCNN

    def set_decoder(self, condition: ConditionStream, pixelcnn: PixelCNN) -> None:
        """Sets the networks, with the distribution of the pixels and the config's sampler."""
        self.condition, self.pixelcnn = condition, pixelcnn
        self.pixels = LogisticMixture(self.levels, pixelcnn.num_mixtures, pixelcnn.min_log_scale)
        self.sampler = Sampler(self.config.sample.sampler, pixelcnn, self.image_shape, self.pixels)

    def conditions(self, variables: Variables, f_z: Array) -> Any:
        """What the PixelCNN is given of f(z)."""
        return self.condition.apply(variables["condition"], f_z)

    def pictures(self, f_z: Array) -> dict[str, Array]:
        """Pictures of f(z) by name, uint8 [B, H, W, C], if there are any."""
        return {}

    def autoregressive_log_prob(
        self, variables: Variables, x: Array, f_z: Array, noise: Noise, train: bool
    ) -> Array:
        """Σ_i ln p(x_i | x_<i, f(z)) in nats [B], with dropout in training."""
        conditions = self.conditions(variables, f_z)
        rngs = {"dropout": noise.key} if train else None
        parameters = self.pixelcnn.apply(
            variables["pixelcnn"], x, noise.index, conditions, train=train, rngs=rngs
        )
        return self.pixels.log_prob(x, cast(Array, parameters))

    def conditional_log_prob(
        self, variables: Variables, batch: Batch, latents: Any, noise: Noise
    ) -> Array:
        """Σ_i ln p(x_i | x_<i, f(z)) of images, in nats [B]."""
        x, f_z = self.scale(batch["image"]), self.sketch(variables, noise, latents).mean
        return self.autoregressive_log_prob(variables, x, f_z, noise, False)

    def images(
        self, variables: Variables, sketch: Any, noise: Noise, temperature: float = 1.0
    ) -> dict[str, Array]:
        """The pictures of f(z), and `image` drawn given it."""
        conditions = self.conditions(variables, sketch.mean)
        image = self.sampler(variables["pixelcnn"], conditions, noise, temperature)
        drawn = distributions.quantize(image, self.levels)
        return {**self.pictures(sketch.mean), "image": drawn}
