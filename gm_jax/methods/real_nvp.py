"""Real-NVP: exact maximum likelihood of an invertible network (Dinh et al., 2017).

An invertible network f maps dequantised images to features under a standard normal prior; the
density of an image follows by the change of variables, ln p(x) = ln N(f(x); 0, I) + ln|det ∂f/∂x|
(Eq. 3; thesis 2.6.2).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax import state as train_state
from gm_jax.dequantization import dequantize, requantize
from gm_jax.images import numbered
from gm_jax.networks.real_nvp import RealNVP, initialize, magnitudes
from gm_jax.nn import per_example
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any
NAME = "real_nvp"


class RealNvp:
    """The method: network, loss and update, as pure functions of their arguments.

    The density of the dequantised images is exact, and it is what the likelihood reports; of the
    discrete images it is a lower bound, so that is what the report calls it.

    Args:
      config: `model` and `optimizer` of `configs/real_nvp.py`.
      image_shape: (H, W, C).
      levels: of a pixel, at least 2.
      num_classes: unused; it is trained without labels.
    """

    likelihood_is_exact = False

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        del num_classes
        model = config.model
        if levels < 2:
            raise ValueError(
                f"an invertible network asked for a data set with a single level (levels = "
                f"{levels}): its images are all alike and have no density; give data.source images "
                "of 2 to 256 levels"
            )
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.network = RealNVP(dtype=jnp.dtype(model.matmul_dtype), **model.real_nvp)
        self.optimizer = optimizers.create(config.optimizer, config.optimizer.clip_norm)

    def init(self, rng: Array, batch: dict[str, Array]) -> TrainState:
        """Initialises the network; its running statistics are those of the images of `batch`."""
        init_key, noise_key = jax.random.split(rng)
        x = self._dequantize(batch, noise_key)
        variables = initialize(self.network, init_key, x)
        # No average of the parameters: the running statistics would be those of others.
        return train_state.create(
            {NAME: variables["params"]},
            {NAME: ((NAME,), self.optimizer)},
            ema=False,
            variables={NAME: {"batch_stats": variables["batch_stats"]}},
        )

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update by the negative log-likelihood and the l₂ penalty, in nats an image."""
        x = self._dequantize(batch, jax.random.fold_in(rng, state.step), axis_name)

        def loss_fn(params: dict[str, Tree]) -> tuple[Array, tuple[dict[str, Array], dict]]:
            variables = {"params": params[NAME], **state.variables[NAME]}
            (features, log_det), changed = self.network.apply(
                variables, x, True, axis_name, method="forward_and_log_det", mutable=["batch_stats"]
            )
            parts = self._log_likelihood(features, log_det)
            terms = {name: -jnp.mean(part) for name, part in parts.items()}
            squares = sum(jnp.sum(jnp.square(leaf)) for leaf in magnitudes(params[NAME]))
            bound = -terms["prior"] - terms["log_det"]
            bits = distributions.bits_per_dim(bound, self.image_shape)
            terms["regularization"] = self.model.l2_penalty * squares
            loss, logged = train_state.total(terms)
            return loss, ({**logged, "bits_per_dim": bits}, {NAME: changed})

        state, terms = train_state.update_player(
            state, NAME, (NAME,), self.optimizer, loss_fn, axis_name
        )
        return train_state.advance(state, 0.0), terms

    def log_likelihood(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """One-sample lower bound on log p of the discrete images, in nats [B].

        The sample is the noise of the dequantisation, given which the density is exact.

        Returns:
          `log_likelihood` = `prior`, ln N(f(x); 0, I), + `log_det`, ln|det| of the map from levels
          to features: of f, and −ln levels a dimension for the scaling to [0, 1].
        """
        parts = self._log_likelihood(*self._forward(variables, batch, rng))
        return {"log_likelihood": parts["prior"] + parts["log_det"], **parts}

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws features from the prior, and inverts them to `image`."""
        if labels is not None:
            raise ValueError("Real-NVP is trained without labels; sample with labels=None")
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        features = temperature * per_example.normal(rng, index, self.image_shape)
        return self.decode(variables, features, rng, index)

    def reconstruct(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array, num_draws: int = 1
    ) -> dict[str, Array]:
        """Encodes images and decodes them: `num_draws` times the same images."""
        features = self.encode(variables, batch, rng)
        decoded = self.decode(variables, features, rng, per_example.global_index(batch))
        return numbered([decoded["image"]] * num_draws)

    def encode(self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array) -> Array:
        """Features float32 [B, H, W, C] of the dequantised images."""
        return self._forward(variables, batch, rng)[0]

    def decode(
        self, variables: dict[str, Tree], latents: Array, rng: Array, index: Array
    ) -> dict[str, Array]:
        """The images of features [B, H, W, C]: `image`, uint8 [B, H, W, C]; there is no noise."""
        del rng, index
        x, _ = self.network.apply(variables[NAME], latents, method="inverse_and_log_det")
        return {"image": requantize(x, self.levels)}

    def _forward(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> tuple[Array, Array]:
        x = self._dequantize(batch, rng)
        return self.network.apply(variables[NAME], x, False, method="forward_and_log_det")

    def _dequantize(
        self, batch: dict[str, Array], key: Array, axis_name: str | None = None
    ) -> Array:
        index = per_example.global_index(batch, axis_name)
        return dequantize(batch["image"], self.levels, key, index)

    def _log_likelihood(self, features: Array, log_det: Array) -> dict[str, Array]:
        """ln p of images in units of their levels, its two parts in nats [B]."""
        prior = jnp.sum(distributions.gaussian_log_prob(features, 0.0, 0.0), (1, 2, 3))
        scaling = features[0].size * jnp.log(float(self.levels))
        return {"prior": prior, "log_det": log_det - scaling}
