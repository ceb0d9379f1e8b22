"""Real-NVP: exact maximum likelihood with an invertible network (Dinh et al., 2017).

An invertible network f maps dequantised images to features with a standard normal prior; a change
of variables gives the density of an image, ln p(x) = ln N(f(x); 0, I) + ln|det ∂f/∂x| (Eq. 3;
thesis 2.6.2).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.flows.dequantise import Dequantise
from gm_jax.flows.transform import Chain, Context
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks.real_nvp import initialize, magnitudes, real_nvp

Array = jax.Array
NAME = "real_nvp"


class RealNvp(Method):
    """One player, whose loss is −ln p(x) plus an l₂ penalty.

    The density of the dequantised images is exact; it bounds that of the discrete images from
    below, so the report calls it a bound.
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
        network = real_nvp(self.image_shape, dtype=self.dtype, **config.model.real_nvp)
        self.flow = Chain((Dequantise(self.levels), network))
        self.players = (Player(NAME, (NAME,), optimizers.create(config.optimizer), self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the network, with the statistics of `batch` as running statistics."""
        return {NAME: initialize(self.flow, key, batch["image"], Context(True, noise))}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x) plus the l₂ penalty, in nats per image."""
        (log_prob, parts), statistics = self._apply(
            "log_prob", variables, batch["image"], Context(True, noise), mutable=["batch_stats"]
        )
        squares = sum(jnp.sum(leaf**2) for leaf in magnitudes(variables[NAME]["params"]))
        terms = {name: -part for name, part in parts.items()}
        terms["regularization"] = self.model.l2_penalty * squares
        return Loss(terms, {"bits_per_dim": self.bits(log_prob)}, {NAME: statistics})

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound; the sample is the dequantisation noise.

        Returns:
          `log_likelihood` = `prior`, ln N(f(x); 0, I), + `log_det`, ln|det| of the map from levels
          to features: that of f, and −ln levels per dimension for the scaling to [0, 1].
        """
        context = Context(False, noise)
        log_prob, parts = self._apply("log_prob", variables, batch["image"], context)
        return {"log_likelihood": log_prob, **parts}

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws features from the prior and inverts them to `image`."""
        return self.decode(variables, temperature * noise.normal(*self.image_shape), noise)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """Maps the dequantised images to features, float32 [B, H, W, C]."""
        context = Context(False, noise)
        return self._apply("forward_and_log_det", variables, batch["image"], context)[0]

    def decode(
        self, variables: Variables, latents: Array, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Maps features [B, H, W, C] to images; deterministic."""
        self.check_labels(labels)
        context = Context(train=False)
        return {"image": self._apply("inverse_and_log_det", variables, latents, context)[0]}

    def _apply(
        self, function: str, variables: Variables, x: Array, context: Context, **mutable: Any
    ) -> Any:
        return self.flow.apply(variables[NAME], x, context, method=function, **mutable)
