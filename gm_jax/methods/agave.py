"""Auxiliary guided autoregressive variational autoencoders (Lucas & Verbeek, 2018; thesis ch. 3).

A hierarchical VAE sketches the image: f(z) holds the means of its factored decoder, which is scored
on an auxiliary image y, the image x or less of it. A PixelCNN++ conditioned on f(z) draws x. One
encoder serves both decoders, so z cannot be ignored (Eq. 3.13).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax import state as train_state
from gm_jax.images import numbered
from gm_jax.losses.auxiliary_image import AuxiliaryImage
from gm_jax.losses.free_bits import free_bits
from gm_jax.networks.hierarchical_vae import HierarchicalVAE, Reconstruction
from gm_jax.networks.pixelcnn import ConditionStream, PixelCNN
from gm_jax.networks.pixelcnn_sampling import Sampler
from gm_jax.nn import per_example
from gm_jax.nn.weight_norm import data_dependent_init
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any
NETWORKS = ("vae", "condition", "pixelcnn")


class Agave:
    """The method: networks, loss and update, as pure functions; its likelihood is a lower bound.

    Args:
      config: `model` and `optimizer` of `configs/agave.py`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: unused; AGAVE is trained without labels.
    """

    likelihood_is_exact = False

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int, num_classes: int | None
    ):
        del num_classes
        model, channels = config.model, image_shape[-1]
        if not 0 <= model.kl_weight < math.inf:
            raise ValueError(f"model.kl_weight = {model.kl_weight}: λ of Eq. 3.13 must be ≥ 0")
        if channels not in (1, 3):
            raise ValueError(f"images of {channels} channels: AGAVE models 1 (grey) or 3 (RGB)")
        if model.auxiliary_until_step < -1:
            raise ValueError(f"{model.auxiliary_until_step = }: give a step, or −1 for never")
        dtype = jnp.dtype(model.matmul_dtype)
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.auxiliary = AuxiliaryImage.create(model.auxiliary, self.image_shape, levels)
        self.vae = HierarchicalVAE(
            channels=self.auxiliary.channels,
            downsampling=self.auxiliary.downsampling,
            levels=levels,
            num_log_scales=self.auxiliary.channels,
            dtype=dtype,
            **model.vae,
        )
        self.condition = ConditionStream(
            layer_features=model.pixelcnn.features,
            num_scales=model.pixelcnn.num_scales,
            num_blocks=model.pixelcnn.num_blocks,
            dtype=dtype,
            **model.condition,
        )
        self.pixelcnn = PixelCNN(dtype=dtype, **model.pixelcnn)
        self.sampler = Sampler(config.sample.sampler, self.pixelcnn, self.image_shape, levels)
        self.optimizer = optimizers.create(config.optimizer)

    def init(
        self, rng: Array, batch: dict[str, Array], pretrained: dict[str, Tree] | None = None
    ) -> TrainState:
        """Initialises every network on the images of `batch`, and the averages after them.

        Networks in `pretrained` ({name: params}; 3.4.1) are taken as they are. What the
        condition adds to the PixelCNN is zero, so that the joint model begins as its halves.
        """
        given = {name: {"params": params} for name, params in (pretrained or {}).items()}
        keys = jax.random.split(rng, 5)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        index = per_example.global_index(batch)
        if "vae" in given:
            sketch = self.vae.apply(given["vae"], x, keys[1], index)
        else:
            sketch, given["vae"] = data_dependent_init(self.vae, keys[0], x, keys[1], index)
        f_z = self.auxiliary.upsample(sketch.mean)
        conditions, given["condition"] = data_dependent_init(self.condition, keys[2], f_z)
        if "pixelcnn" not in given:
            _, given["pixelcnn"] = data_dependent_init(
                self.pixelcnn, keys[3], x, index, conditions, rngs={"dropout": keys[4]}, train=True
            )
        params = {name: given[name]["params"] for name in NETWORKS}
        optimizer = {"model": (NETWORKS, self.optimizer)}
        return train_state.create(params, optimizer, ema=self.model.ema_decay > 0)

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update of all networks by the gradient of Eq. 3.13."""

        def loss_fn(params: dict[str, Tree]) -> tuple[Array, tuple[dict[str, Array], dict]]:
            variables = {name: {"params": params[name]} for name in NETWORKS}
            key = jax.random.fold_in(rng, state.step)
            return self._loss(variables, batch, key, axis_name, state.step)

        state, terms = train_state.update_player(
            state, "model", NETWORKS, self.optimizer, loss_fn, axis_name
        )
        return train_state.advance(state, self.model.ema_decay), terms

    def _loss(
        self, variables: dict[str, Tree], batch: dict[str, Array], key: Array,
        axis_name: str | None, step: Array,
    ) -> tuple[Array, tuple[dict[str, Array], dict]]:  # fmt: skip
        """−L(θ, φ; x, y) of Eq. 3.13 in nats an image, and its terms."""
        latent_key, dropout_key = jax.random.split(key)
        index = per_example.global_index(batch, axis_name)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        reconstruction = self.vae.apply(variables["vae"], x, latent_key, index)
        floored = free_bits(reconstruction.kl, self.model.free_bits, axis_name)
        kl = jnp.sum(reconstruction.kl, (1, 2))
        terms = {
            "autoregressive": -self._autoregressive_log_prob(
                variables, x, reconstruction.mean, index, dropout_key
            ),
            "auxiliary": -self._auxiliary_log_prob(batch, reconstruction),
            "regularization": self.model.kl_weight * floored,
        }
        if self.model.auxiliary_until_step >= 0:
            # The control of figure 3.7 goes on with Eq. 3.6: weight 1, no floor, no auxiliary term.
            dropped = step >= self.model.auxiliary_until_step
            terms["auxiliary"] = jnp.where(dropped, 0.0, terms["auxiliary"])
            terms["regularization"] = jnp.where(dropped, kl, terms["regularization"])
        bound = jnp.mean(-terms["autoregressive"] - kl)
        loss, logged = train_state.total(terms)
        bits = distributions.bits_per_dim(bound, self.image_shape)
        return loss, ({**logged, "kl": jnp.mean(kl), "bits_per_dim": bits}, {})

    def _autoregressive_log_prob(
        self, variables: dict[str, Tree], x: Array, f_z: Array, index: Array, key: Array | None
    ) -> Array:
        """Σ_i ln p(x_i | x_<i, f(z)) in nats [B]; a dropout key trains."""
        conditions = self.condition.apply(variables["condition"], self.auxiliary.upsample(f_z))
        rngs = None if key is None else {"dropout": key}
        parameters = self.pixelcnn.apply(
            variables["pixelcnn"], x, index, conditions, train=key is not None, rngs=rngs
        )
        log_prob = distributions.discretized_logistic_mixture_log_prob(
            x, parameters, self.levels, self.pixelcnn.min_log_scale
        )
        return jnp.sum(log_prob, (1, 2))

    def _auxiliary_log_prob(self, batch: dict[str, Array], reconstruction: Reconstruction) -> Array:
        """Σ_j ln p(y_j | z) in nats [B], a logistic around f(z) (Eq. 3.17 with tails)."""
        y = self.auxiliary.of(batch["image"])
        return self.auxiliary.log_prob(y, reconstruction.mean, reconstruction.log_scale)

    def log_likelihood(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """One-sample lower bound on log p(x) (Eq. 3.6: weight 1, no free bits), in nats [B].

        Returns:
          `log_likelihood` = `autoregressive` − `kl`; and `auxiliary`, ln p(y | z), not part of it.
        """
        index = per_example.global_index(batch)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        sketch = self.vae.apply(variables["vae"], x, rng, index)
        terms = {
            "autoregressive": self._autoregressive_log_prob(variables, x, sketch.mean, index, None),
            "kl": jnp.sum(sketch.kl, (1, 2)),
            "auxiliary": self._auxiliary_log_prob(batch, sketch),
        }
        return {"log_likelihood": terms["autoregressive"] - terms["kl"], **terms}

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws z, sketches `f_z`, and draws `image` given it."""
        if labels is not None:
            raise ValueError("AGAVE is trained without labels; sample with labels=None")
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        latent_key, pixel_key = jax.random.split(rng)
        f_z = self._sketch(variables, latent_key, index, None, temperature).mean
        return self._draw(variables, f_z, pixel_key, index, temperature)

    def reconstruct(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array, num_draws: int = 1
    ) -> dict[str, Array]:
        """Encodes images and draws them anew, `num_draws` times from one `f_z`."""
        latent_key, pixel_key = jax.random.split(rng)
        latents = self.encode(variables, batch, latent_key)
        index = per_example.global_index(batch)
        drawn = jax.lax.map(
            lambda key: self.decode(variables, latents, key, index),
            jax.random.split(pixel_key, num_draws),
        )
        return {"f_z": drawn["f_z"][0], **numbered(drawn["image"])}

    def encode(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> list[Array]:
        """Draws latents from the posterior: one [B, h, w, Z] a block, from the top."""
        x = distributions.scale_to_unit(batch["image"], self.levels)
        return self.vae.apply(variables["vae"], x, rng, per_example.global_index(batch)).latents

    def decode(
        self, variables: dict[str, Tree], latents: list[Array], rng: Array, index: Array
    ) -> dict[str, Array]:
        """Draws images given latents of `encode`: `image` and `f_z`, uint8 [B, H, W, C]."""
        f_z = self._sketch(variables, None, index, latents).mean
        return self._draw(variables, f_z, rng, index)

    def sample_latents(
        self, variables: dict[str, Tree], rng: Array, index: Array, temperature: float = 1.0
    ) -> list[Array]:
        """Draws latents from the prior, one [B, h, w, Z] a block from the top, for `decode`."""
        return self._sketch(variables, rng, index, None, temperature).latents

    def conditional_log_prob(
        self, variables: dict[str, Tree], batch: dict[str, Array], latents: list[Array]
    ) -> Array:
        """Σ_i ln p(x_i | x_<i, f(z)) of images given latents of any origin, in nats [B]."""
        index = per_example.global_index(batch)
        x = distributions.scale_to_unit(batch["image"], self.levels)
        f_z = self._sketch(variables, None, index, latents).mean
        return self._autoregressive_log_prob(variables, x, f_z, index, None)

    def _sketch(self, variables, key, index, latents, temperature=1.0) -> Reconstruction:
        """Of given latents, or of latents drawn from the prior."""
        args = None, self.image_shape[:2], key, index, latents, temperature
        return self.vae.apply(variables["vae"], *args, method="decode")

    def _draw(self, variables, f_z, key, index, temperature=1.0) -> dict[str, Array]:
        """`image` given f(z), and f(z) as a picture."""
        conditions = self.condition.apply(variables["condition"], self.auxiliary.upsample(f_z))
        image = self.sampler(variables["pixelcnn"], conditions, key, index, temperature)
        return {"image": image, "f_z": self.auxiliary.picture(f_z)}
