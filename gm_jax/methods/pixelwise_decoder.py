"""What methods share whose decoder gives each image a distribution in closed form."""

import math
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.data.fields import DataSpec
from gm_jax.dequantization import CENTRED, dequantize, requantize
from gm_jax.methods.method import Batch, Choose, Method, Noise, Variables
from gm_jax.networks.decoder_distributions import LIKELIHOODS
from gm_jax.networks.pixel_distributions import DiscreteDistribution
from gm_jax.networks.vae import Decoder

Array = jax.Array


class PixelwiseDecoder(Method):
    """A network `decoder` maps latents to the parameters of p(x | z), `model.likelihood`.

    A method sets `decoder` by `create_decoder`; one whose latents are not what that network takes
    overrides `embedded`. Densities are of images that are dequantised uniformly: then all bounds
    are bounds on the probability of images in levels.
    """

    decoder: Decoder

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        name = config.model.likelihood
        if name not in LIKELIHOODS:
            raise ValueError(f"model.likelihood is '{name}'; choose among {', '.join(LIKELIHOODS)}")
        if name == "bernoulli" and self.levels != 2:
            raise ValueError(
                f"model.likelihood is 'bernoulli', which gives grey images no probability; those "
                f"of {config.data.source} have {self.levels} levels: give "
                f"data.source=binary:{config.data.source}, or "
                "model.likelihood=discretized_logistic"
            )
        self.pixels = LIKELIHOODS[name](self.levels, config.model.init_log_scale)
        self.num_outputs = self.pixels.num_outputs(self.image_shape[-1])  # a pixel

    def create_decoder(self, body: nn.Module) -> Decoder:
        """The decoder around a network that gives `num_outputs` numbers a pixel."""
        return Decoder(body, self.image_shape, self.pixels)

    def embedded(self, variables: Variables, latents: Any) -> Array:
        """What the decoder takes, of the latents that `encode` returns: these themselves."""
        return latents

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Draws `image` around the means `f_z`."""
        self.check_labels(labels)
        return self.images(variables, latents, noise, 1.0)

    def conditional_log_prob(
        self, variables: Variables, batch: Batch, latents: Any, noise: Noise
    ) -> Array:
        """ln p(x | z), in nats [B]."""
        return self.log_prob_given(variables, batch, self.embedded(variables, latents), noise)

    def log_prob_given(
        self, variables: Variables, batch: Batch, embedded: Array, noise: Noise
    ) -> Array:
        """ln p(x | z) of what the decoder takes, in nats [B].

        Args:
          variables: those of `decoder`.
          batch: the images.
          embedded: from `embedded`.
          noise: dequantises the images, if p is a density.
        """
        parameters = self.decoder.apply(variables["decoder"], embedded)
        image = batch["image"]
        if not self.pixels.continuous:
            return self.pixels.log_prob(self.scale(image), parameters)
        x = dequantize(image, self.levels, noise, CENTRED)
        log_volume = math.prod(self.image_shape) * math.log(2 / self.levels)
        return self.pixels.log_prob(x, parameters) + log_volume

    def image_chosen(
        self, variables: Variables, embedded: Array, image: Array, choose: Choose
    ) -> Array:
        """The images uint8 [B, H, W, C] that `choose` chooses by p(x | z), given `image`."""
        parameters = self.decoder.apply(variables["decoder"], embedded)
        pixels = cast(DiscreteDistribution, self.pixels)
        return self._in_levels(pixels.chosen(parameters, image.astype(jnp.int32), choose))

    def why_not_coded(self) -> str:
        """Densities have no masses."""
        if self.pixels.continuous:
            return (
                f"model.likelihood is '{self.model.likelihood}', a density; train with one of "
                "levels, such as discretized_logistic"
            )
        return super().why_not_coded()

    def images(
        self, variables: Variables, latents: Any, noise: Noise, temperature: float
    ) -> dict[str, Array]:
        """Draws `image` around the means `f_z`, uint8 [B, H, W, C]."""
        parameters = self.decoder.apply(variables["decoder"], self.embedded(variables, latents))
        drawn = self.pixels.noise(noise, self.image_shape)
        image = self.pixels.draw(parameters, drawn, temperature)
        pictures = {"f_z": self.pixels.mean(parameters), "image": image}
        return {name: self._in_levels(x) for name, x in pictures.items()}

    def mean_image(self, variables: Variables, latents: Any) -> Array:
        """The means of images, in [−1, 1]."""
        parameters = self.decoder.apply(variables["decoder"], self.embedded(variables, latents))
        return self.pixels.mean(parameters)

    def _in_levels(self, x: Array) -> Array:
        if self.pixels.continuous:
            return requantize(x, self.levels, CENTRED)
        return distributions.quantize(x, self.levels)
