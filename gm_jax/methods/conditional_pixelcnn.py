"""What methods share whose PixelCNN draws an image given f(z), a function of the latents."""

from typing import Any, Protocol, cast

import jax

from gm_jax import distributions
from gm_jax.methods.method import Batch, Method, Noise, Variables
from gm_jax.networks.pixel_distributions import LogisticMixture
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.networks.pixelcnn_sampling import Sampler

Array = jax.Array


class Sketch(Protocol):
    """What a method makes of an image or of latents."""

    @property
    def mean(self) -> Array:
        """f(z)."""

    @property
    def kl(self) -> Array:
        """Nats [B, ...], of parts of the latents; 0 for what was not drawn given an image."""

    @property
    def latents(self) -> list[Array]:
        """A [B, ...] per layer, from the top."""


class ConditionalPixelCNN(Method):
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

    def encoded(self, variables: Variables, x: Array, noise: Noise) -> Sketch:
        """Latents drawn from the posterior given images in [−1, 1], and f(z)."""
        raise NotImplementedError

    def sketch(
        self, variables: Variables, noise: Noise, latents: Any, temperature: float = 1.0
    ) -> Sketch:
        """f(z) of the given latents; those that are None, or all, are drawn from the prior."""
        raise NotImplementedError

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

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws z, and `image` given f(z)."""
        latent_noise, pixel_noise = noise.split()
        f_z = self.sketch(variables, latent_noise, None, temperature).mean
        return self.images(variables, f_z, pixel_noise, temperature)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> list[Array]:
        """Draws latents from the posterior: one [B, h, w, Z] per layer, from the top."""
        return self.encoded(variables, self.scale(batch["image"]), noise).latents

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Draws `image` given f(z)."""
        self.check_labels(labels)
        return self.images(variables, self.sketch(variables, noise, latents).mean, noise)

    def resample(
        self, variables: Variables, batch: Batch, noise: Noise, level: int
    ) -> dict[str, Array]:
        """Keeps the first `level` layers of an image's latents; draws the others and `image`."""
        encoding, latent_noise, pixel_noise = noise.split(3)
        latents = self.encode(variables, batch, encoding)
        if not 0 <= level <= len(latents):
            raise ValueError(f"level is {level}; give 0 to {len(latents)}, the layers to keep")
        kept = [z if layer < level else None for layer, z in enumerate(latents)]
        f_z = self.sketch(variables, latent_noise, kept).mean
        return self.images(variables, f_z, pixel_noise)

    def sample_latents(
        self, variables: Variables, noise: Noise, temperature: float = 1.0
    ) -> list[Array]:
        """Draws latents from the prior: one [B, h, w, Z] per layer, from the top."""
        return self.sketch(variables, noise, None, temperature).latents

    def conditional_log_prob(
        self, variables: Variables, batch: Batch, latents: Any, noise: Noise
    ) -> Array:
        """Σ_i ln p(x_i | x_<i, f(z)) of images, in nats [B]."""
        x, f_z = self.scale(batch["image"]), self.sketch(variables, noise, latents).mean
        return self.autoregressive_log_prob(variables, x, f_z, noise, False)

    def images(
        self, variables: Variables, f_z: Array, noise: Noise, temperature: float = 1.0
    ) -> dict[str, Array]:
        """The pictures of f(z), and `image` drawn given it."""
        conditions = self.conditions(variables, f_z)
        image = self.sampler(variables["pixelcnn"], conditions, noise, temperature)
        return {**self.pictures(f_z), "image": distributions.quantize(image, self.levels)}
