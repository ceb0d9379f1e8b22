"""PixelCNN++ (Salimans et al., 2017), the half of AGAVE that draws the image."""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.methods.method import Batch, Choose, Loss, Method, Noise, Player, Variables
from gm_jax.networks.pixel_distributions import LogisticMixture
from gm_jax.networks.pixelcnn import PixelCNN
from gm_jax.networks.pixelcnn_sampling import Sampler
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array


class PixelCNNPlusPlus(Method):
    """One player, whose loss is −ln p(x) = −Σ_i ln p(x_i | x_<i), with dropout."""

    likelihood = "exact"
    channels = (1, 3)

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.pixelcnn = PixelCNN(dtype=self.dtype, **config.model.pixelcnn)
        self.pixels = LogisticMixture(
            self.levels, self.pixelcnn.num_mixtures, self.pixelcnn.min_log_scale
        )
        sampler = config.sample.sampler
        self.sampler = Sampler(sampler, self.pixelcnn, self.image_shape, self.pixels)
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("model", ("pixelcnn",), optimizer, self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the network on data, and then the parameter average.

        The published average starts before the data-dependent initialisation, at a cost.
        """
        x, rngs = self.scale(batch["image"]), {"dropout": noise.key}
        _, variables = data_dependent_init(
            self.pixelcnn, key, x, noise.index, rngs=rngs, train=True
        )
        return {"pixelcnn": variables}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x) in nats, with dropout."""
        log_prob = self._log_prob(variables, batch, noise, train=True)
        return Loss({"negative_log_prob": -log_prob}, {"bits_per_dim": self.bits(log_prob)})

    def _log_prob(self, variables: Variables, batch: Batch, noise: Noise, train: bool) -> Array:
        """Σ_i ln p(x_i | x_<i) in nats [B]."""
        x, rngs = self.scale(batch["image"]), {"dropout": noise.key} if train else None
        parameters = self.pixelcnn.apply(
            variables["pixelcnn"], x, noise.index, train=train, rngs=rngs
        )
        return self.pixels.log_prob(x, cast(Array, parameters))

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """ln p(x) without dropout; deterministic."""
        return {"log_likelihood": self._log_prob(variables, batch, noise, train=False)}

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws `image` pixel by pixel."""
        image = self.sampler(variables["pixelcnn"], None, noise, temperature)
        return {"image": distributions.quantize(image, self.levels)}

    def code_image(
        self, variables: Variables, latents: Any, image: Array, choose: Choose
    ) -> tuple[Any, Array]:
        """Chooses pixel by pixel, in the order of the cached sampler."""
        given = image.astype(jnp.int32)
        chosen = self.sampler.chosen(variables["pixelcnn"], None, given, choose)
        return latents, distributions.quantize(chosen, self.levels)
