"""VAE with inverse autoregressive flow (Kingma et al., 2016), the half of AGAVE that sketches.

A hierarchical VAE whose decoder is factored: given z, the values of the image are independent
logistics around its means f(z). Trained by the evidence lower bound with free bits, or by the
k-sample bound (Burda et al., 2016).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax import state as train_state
from gm_jax.images import numbered
from gm_jax.losses.free_bits import free_bits
from gm_jax.losses.importance_weighted import importance_weighted
from gm_jax.networks.hierarchical_vae import HierarchicalVAE, Reconstruction
from gm_jax.nn import per_example
from gm_jax.nn.weight_norm import data_dependent_init
from gm_jax.noise import standard_logistic
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any
NETWORKS = ("vae",)


class VaeIaf:
    """The method: network, loss and update, as pure functions; its likelihood is a lower bound.

    The published likelihood, log(σ(a) − σ(b) + 1e-7), gives the tails of a logistic to no level, so
    that its 256 masses sum to less than one. Here the end levels take them. The means and the one
    log-scale are those of images in [−1, 1], not [−½, ½ − 1/256]: `init_log_scale` is
    the published start at 0 there.

    Args:
      config: `model` and `optimizer` of `configs/vae_iaf.py`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: unused; trained without labels.
    """

    likelihood_is_exact = False

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        del num_classes
        model, channels = config.model, image_shape[-1]
        if channels not in (1, 3):
            raise ValueError(f"images of {channels} channels: the VAE models 1 (grey) or 3 (RGB)")
        if model.num_importance_samples < 1:
            raise ValueError(
                f"model.num_importance_samples = {model.num_importance_samples}: k must be ≥ 1"
            )
        if model.num_importance_samples > 1 and model.free_bits > 0:
            raise ValueError(
                f"model.free_bits = {model.free_bits} with {model.num_importance_samples} "
                "importance samples: the k-sample bound has no divergence to floor; set "
                "model.free_bits=0, or model.num_importance_samples=1"
            )
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.vae = HierarchicalVAE(
            channels=channels,
            downsampling=1,
            levels=levels,
            num_log_scales=1,
            dtype=jnp.dtype(model.matmul_dtype),
            **model.vae,
        )
        self.optimizer = optimizers.create(config.optimizer)

    def init(self, rng: Array, batch: dict[str, Array]) -> TrainState:
        """Initialises the network on the images of `batch`, and the average after it."""
        keys = jax.random.split(rng)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        index = per_example.global_index(batch)
        _, vae = data_dependent_init(self.vae, keys[0], x, keys[1], index)
        optimizer = {"model": (NETWORKS, self.optimizer)}
        return train_state.create({"vae": vae["params"]}, optimizer, self.model.ema_decay > 0)

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update by the gradient of the bound."""

        def loss_fn(params: dict[str, Tree]) -> tuple[Array, tuple[dict[str, Array], dict]]:
            key = jax.random.fold_in(rng, state.step)
            return self._loss({"vae": {"params": params["vae"]}}, batch, key, axis_name)

        state, terms = train_state.update_player(
            state, "model", NETWORKS, self.optimizer, loss_fn, axis_name
        )
        return train_state.advance(state, self.model.ema_decay), terms

    def _loss(
        self, variables: dict[str, Tree], batch: dict[str, Array], key: Array, axis_name: str | None
    ) -> tuple[Array, tuple[dict[str, Array], dict]]:
        """Minus the bound in nats an image, and its terms; free bits floor that of k = 1."""
        index = per_example.global_index(batch, axis_name)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        evidences = self.vae.apply(variables["vae"], x, method="encode")

        def draw(key: Array) -> tuple[Array, Array]:
            reconstruction = self.vae.apply(
                variables["vae"], evidences, x.shape[1:3], key, index, method="decode"
            )
            return self._log_prob(x, reconstruction), reconstruction.kl

        num_samples = self.model.num_importance_samples
        log_prob, kl = jax.vmap(draw)(jax.random.split(key, num_samples))
        bound = importance_weighted(log_prob - jnp.sum(kl, (2, 3)))
        if num_samples == 1:
            floored = free_bits(kl[0], self.model.free_bits, axis_name)
            terms = {"reconstruction": -log_prob[0], "regularization": floored}
        else:
            terms = {"importance_weighted": -bound}
        loss, logged = train_state.total(terms)
        kl = jnp.mean(jnp.sum(kl, (2, 3)))
        bits = distributions.bits_per_dim(jnp.mean(bound), self.image_shape)
        return loss, ({**logged, "kl": kl, "bits_per_dim": bits}, {})

    def _log_prob(self, x: Array, reconstruction: Reconstruction) -> Array:
        """Σ_i ln p(x_i | z) in nats [B]."""
        log_prob = distributions.discretized_logistic_log_prob(
            x, reconstruction.mean, reconstruction.log_scale, self.levels
        )
        return jnp.sum(log_prob, (1, 2, 3))

    def log_likelihood(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """One-sample lower bound on log p(x), without free bits, in nats [B].

        Returns:
          `log_likelihood` = `reconstruction` − `kl`.
        """
        index = per_example.global_index(batch)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        decoded = self.vae.apply(variables["vae"], x, rng, index)
        reconstruction, kl = self._log_prob(x, decoded), jnp.sum(decoded.kl, (1, 2))
        return {"log_likelihood": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws z, and `image` given z, around the means `f_z`."""
        if labels is not None:
            raise ValueError("the VAE is trained without labels; sample with labels=None")
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        latent_key, pixel_key = jax.random.split(rng)
        decoded = self.vae.apply(
            variables["vae"], None, self.image_shape[:2], latent_key, index, None, temperature,
            method="decode",
        )  # fmt: skip
        return self._draw(decoded, pixel_key, index, temperature)

    def reconstruct(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array, num_draws: int = 1
    ) -> dict[str, Array]:
        """Encodes images and draws them anew, `num_draws` times from the means `f_z` of one z."""
        latent_key, pixel_key = jax.random.split(rng)
        latents = self.encode(variables, batch, latent_key)
        index = per_example.global_index(batch)
        drawn = [
            self.decode(variables, latents, key, index)
            for key in jax.random.split(pixel_key, num_draws)
        ]
        return {"f_z": drawn[0]["f_z"], **numbered([draw["image"] for draw in drawn])}

    def encode(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> list[Array]:
        """Draws latents from the posterior: one [B, h, w, Z] a block, from the top."""
        x = distributions.scale_to_unit(batch["image"], self.levels)
        index = per_example.global_index(batch)
        return self.vae.apply(variables["vae"], x, rng, index).latents

    def decode(
        self, variables: dict[str, Tree], latents: list[Array], rng: Array, index: Array
    ) -> dict[str, Array]:
        """Draws images given latents of `encode`: `image` and `f_z`, uint8 [B, H, W, C]."""
        decoded = self.vae.apply(
            variables["vae"], None, self.image_shape[:2], None, index, latents, method="decode"
        )
        return self._draw(decoded, rng, index, 1.0)

    def _draw(
        self, decoded: Reconstruction, key: Array, index: Array, temperature: float
    ) -> dict[str, Array]:
        def noise(example_key: Array) -> Array:
            return standard_logistic(example_key, self.image_shape)

        image = distributions.discretized_logistic_sample(
            decoded.mean,
            decoded.log_scale,
            jax.vmap(noise)(per_example.keys(key, index)),
            self.levels,
            temperature,
        )
        pictures = {"image": image, "f_z": decoded.mean}
        return {name: distributions.quantize(x, self.levels) for name, x in pictures.items()}
