"""What methods share whose decoder gives each pixel a distribution, independent of the others."""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.data.fields import DataSpec
from gm_jax.methods.method import Batch, Method, Noise, Variables
from gm_jax.networks.vae import LIKELIHOODS, Decoder

Array = jax.Array


class PixelwiseDecoder(Method):
    """A network `decoder` maps latents to logistics, discretized, or to Bernoulli variables.

    A method sets `decoder` by `create_decoder`; one whose latents are not what that network takes
    overrides `embedded`.
    """

    decoder: Decoder

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        likelihood = config.model.likelihood
        if likelihood not in LIKELIHOODS:
            raise ValueError(
                f"model.likelihood is '{likelihood}'; choose among {', '.join(LIKELIHOODS)}"
            )
        if likelihood == "bernoulli" and self.levels != 2:
            raise ValueError(
                f"model.likelihood is 'bernoulli', which gives grey images no probability; those "
                f"of {config.data.source} have {self.levels} levels: give "
                f"data.source=binary:{config.data.source}, or "
                "model.likelihood=discretized_logistic"
            )
        self.num_outputs = LIKELIHOODS[likelihood] * self.image_shape[-1]  # of a pixel

    def create_decoder(self, body: nn.Module) -> Decoder:
        """The decoder around a network that gives `num_outputs` numbers a pixel."""
        model = self.model
        return Decoder(body, self.image_shape, model.likelihood, model.init_log_scale)

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
        return self.log_prob_given(variables, batch, self.embedded(variables, latents))

    def log_prob_given(self, variables: Variables, batch: Batch, embedded: Array) -> Array:
        """ln p(x | z) of what the decoder takes, in nats [B]."""
        mean, log_scale = self._decoded(variables, embedded)
        x = self.scale(batch["image"])
        log_prob = distributions.discretized_logistic_log_prob(x, mean, log_scale, self.levels)
        return jnp.sum(log_prob, (1, 2, 3))

    def images(
        self, variables: Variables, latents: Any, noise: Noise, temperature: float
    ) -> dict[str, Array]:
        """Draws `image` around the means `f_z`, uint8 [B, H, W, C]."""
        mean, log_scale = self._decoded(variables, self.embedded(variables, latents))
        drawn = noise.logistic(*self.image_shape)
        image = distributions.discretized_logistic_sample(
            mean, log_scale, drawn, self.levels, temperature
        )
        pictures = {"f_z": self._mean_image(mean), "image": image}
        return {name: distributions.quantize(x, self.levels) for name, x in pictures.items()}

    def mean_image(self, variables: Variables, latents: Any) -> Array:
        """The means of images, clipped to [−1, 1]."""
        return self._mean_image(self._decoded(variables, self.embedded(variables, latents))[0])

    def _decoded(self, variables: Variables, embedded: Array) -> tuple[Array, Array]:
        decoded = self.decoder.apply(variables["decoder"], embedded)
        return cast(tuple[Array, Array], decoded)

    def _mean_image(self, mean: Array) -> Array:
        """In [−1, 1]: the mean of a logistic, clipped, or of a Bernoulli variable, which is ±1."""
        if self.model.likelihood == "bernoulli":
            return jnp.tanh(mean / 2)
        return jnp.clip(mean, -1.0, 1.0)
