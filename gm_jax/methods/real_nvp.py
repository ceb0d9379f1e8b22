"""Real-NVP: exact maximum likelihood of an invertible network (Dinh et al., 2017).

An invertible network f maps dequantised images to features under a standard normal prior; the
density of an image follows by the change of variables, ln p(x) = ln N(f(x); 0, I) + ln|det ∂f/∂x|
(Eq. 3; thesis 2.6.2).
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.dequantization import dequantize, requantize
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks.real_nvp import RealNVP, initialize, magnitudes

Array = jax.Array
NAME = "real_nvp"


class RealNvp(Method):
    """One player, whose loss is −ln p(x) and an l₂ penalty.

    The density of the dequantised images is exact, and it is what the likelihood reports; of the
    discrete images it is a lower bound, so that is what the report calls it.
    """

    likelihood = "bound"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        if self.levels < 2:
            raise ValueError(
                f"an invertible network asked for a data set with a single level (levels = "
                f"{self.levels}): its images are all alike and have no density; give data.source "
                "images of 2 to 256 levels"
            )
        self.network = RealNVP(dtype=self.dtype, **config.model.real_nvp)
        self.players = (Player(NAME, (NAME,), optimizers.create(config.optimizer), self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the network; its running statistics are those of the images of `batch`."""
        return {NAME: initialize(self.network, key, dequantize(batch["image"], self.levels, noise))}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x) and the l₂ penalty, in nats an image."""
        x = dequantize(batch["image"], self.levels, noise)
        (features, log_det), statistics = self.network.apply(
            variables[NAME], x, True, method="forward_and_log_det", mutable=["batch_stats"]
        )
        parts = self._parts(features, log_det)
        squares = sum(jnp.sum(leaf**2) for leaf in magnitudes(variables[NAME]["params"]))
        terms = {name: -part for name, part in parts.items()}
        terms["regularization"] = self.model.l2_penalty * squares
        bits = self.bits(parts["prior"] + parts["log_det"])
        return Loss(terms, {"bits_per_dim": bits}, {NAME: statistics})

    def _parts(self, features: Array, log_det: Array) -> dict[str, Array]:
        """ln p of images in units of their levels, its two parts in nats [B]."""
        prior = jnp.sum(distributions.gaussian_log_prob(features, 0.0, 0.0), (1, 2, 3))
        scaling = features[0].size * jnp.log(float(self.levels))
        return {"prior": prior, "log_det": log_det - scaling}

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound; the sample is the noise of the dequantisation.

        Returns:
          `log_likelihood` = `prior`, ln N(f(x); 0, I), + `log_det`, ln|det| of the map from levels
          to features: of f, and −ln levels a dimension for the scaling to [0, 1].
        """
        parts = self._parts(*self._forward(variables, batch, noise))
        return {"log_likelihood": parts["prior"] + parts["log_det"], **parts}

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws features from the prior, and inverts them to `image`."""
        return self.decode(variables, temperature * noise.normal(*self.image_shape), noise)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """Features float32 [B, H, W, C] of the dequantised images."""
        return self._forward(variables, batch, noise)[0]

    def decode(
        self, variables: Variables, latents: Array, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """The images of features [B, H, W, C]; nothing is random."""
        self.check_labels(labels)
        x, _ = self.network.apply(variables[NAME], latents, method="inverse_and_log_det")
        return {"image": requantize(x, self.levels)}

    def _forward(self, variables: Variables, batch: Batch, noise: Noise) -> tuple[Array, Array]:
        x = dequantize(batch["image"], self.levels, noise)
        mapped = self.network.apply(variables[NAME], x, False, method="forward_and_log_det")
        return cast(tuple[Array, Array], mapped)
