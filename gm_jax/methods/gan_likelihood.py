"""The bits/dim of a GAN (Lucas et al., 2019, section 5, "Evaluation metrics").

A generator's images fill no volume, so it has no density. "To endow a GAN with a full support and a
likelihood, we train an inference network 'around it', while keeping the weights of the GAN
generator fixed. We also train an isotropic noise parameter σ": p(x|z) = N(x; G(z), σ² I).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax import state as train_state
from gm_jax.dequantization import dequantize, requantize
from gm_jax.images import numbered
from gm_jax.networks import discriminators, top_down_vae
from gm_jax.nn import per_example
from gm_jax.nn.weight_norm import data_dependent_init
from gm_jax.state import TrainState

Array = jax.Array
Tree = Any
NETWORKS = ("encoder", "noise")  # those that learn
PREFIX = "generator_"  # of the networks that do not
NEEDED = ("generate", "num_latents", "generator_networks", "class_conditional")


class GanLikelihood:
    """The method: its likelihood is a lower bound, on the density of dequantised images.

    Args:
      config: `model` and `optimizer` of `configs/gan_likelihood.py`.
      image_shape: (H, W, C).
      levels: of a pixel.
      num_classes: of the labels, or None; needed where the generator is class-conditional.
      frozen: `generator`, any method that has all of NEEDED.
    """

    likelihood_is_exact = False
    # The noise was added to a model that has no density: its number stands in brackets (Table 1).
    likelihood_is_bracketed = True

    def __init__(
        self, config: Any, image_shape: tuple[int, int, int], levels: int,
        num_classes: int | None, frozen: dict[str, Any] | None = None,
    ):  # fmt: skip
        model, generator = config.model, (frozen or {}).get("generator")
        if generator is None:
            raise ValueError(
                "frozen.generator is empty; give the work directory of a trained run, as in "
                "--config.frozen.generator=runs/adaptive_density-gan,digits"
            )
        missing = [name for name in NEEDED if not hasattr(generator, name)]
        if missing:
            raise ValueError(
                f"frozen.generator={config.frozen.generator}: {type(generator).__name__} has no "
                f"{', '.join(missing)}; give a run of a model that generates from a latent vector"
            )
        self.model, self.image_shape, self.levels = model, tuple(image_shape), levels
        self.generator, self.class_conditional = generator, generator.class_conditional
        self.encoder = top_down_vae.Encoder(
            top_latents=generator.num_latents,
            num_latents=0,
            flow=False,
            num_classes=discriminators.check_classes(self.class_conditional, num_classes),
            dtype=jnp.dtype(model.matmul_dtype),
            **model.encoder,
        )
        self.optimizer = optimizers.create(config.optimizer)

    def init(
        self, rng: Array, batch: dict[str, Array], pretrained: dict[str, Tree] | None = None
    ) -> TrainState:
        """Initialises the encoder on the images of `batch`.

        Args:
          pretrained: `generator`, variables {network: {collection: tree}} of the trained run. Where
            not given, as for the shapes of a checkpoint to restore, the generator is untrained.
        """
        encoder_key, generator_key, pixel_key = jax.random.split(rng, 3)
        if pretrained is None:
            start = self.generator.init(generator_key, batch)
            pretrained = {"generator": train_state.evaluation_variables(start)}
        params, statistics = {}, {}
        for name in self.generator.generator_networks:
            collections = dict(pretrained["generator"][name])
            params[PREFIX + name] = collections.pop("params")
            if collections:
                statistics[PREFIX + name] = collections
        index, label = per_example.global_index(batch), self._label(batch)
        x = self._scale(batch["image"], pixel_key, index)
        _, encoder = data_dependent_init(self.encoder, encoder_key, x, label)
        params["encoder"] = encoder["params"]
        params["noise"] = {"log_std": jnp.float32(self.model.init_log_std)}
        players = {"inference": (NETWORKS, self.optimizer)}
        return train_state.create(params, players, ema=False, variables=statistics)

    def train_step(
        self, state: TrainState, batch: dict[str, Array], rng: Array, axis_name: str | None = None
    ) -> tuple[TrainState, dict[str, Array]]:
        """One update of encoder and σ by the gradient of the bound."""
        key = jax.random.fold_in(rng, state.step)
        index = per_example.global_index(batch, axis_name)

        def loss_fn(params: Tree) -> tuple[Array, tuple[dict[str, Array], Tree]]:
            variables = train_state.with_statistics(state, params)
            bound = self._bound(variables, batch, key, index)
            loss, logged = train_state.total(
                {"reconstruction": -bound["reconstruction"], "kl": bound["kl"],
                 "log_det": -bound["log_det"]}
            )  # fmt: skip
            bits = distributions.bits_per_dim(-loss, self.image_shape)
            log_std = params["noise"]["log_std"]
            return loss, ({**logged, "bits_per_dim": bits, "log_std": log_std}, {})

        state, terms = train_state.update_player(
            state, "inference", NETWORKS, self.optimizer, loss_fn, axis_name
        )
        return train_state.advance(state, 0.0), terms

    def log_likelihood(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array
    ) -> dict[str, Array]:
        """One-sample lower bound on log p of the images, and its parts, in nats [B].

        Returns:
          `log_likelihood` = `reconstruction` − `kl` + `log_det`: ln N(x; G(z), σ² I) of x in
          [−1, 1]; ln q(z|x) − ln p(z); and the log of the volume of a level, D ln(2/levels).
        """
        return self._bound(variables, batch, rng, per_example.global_index(batch))

    def _bound(self, variables: Tree, batch: Tree, key: Array, index: Array) -> dict[str, Array]:
        pixel_key, latent_key = jax.random.split(key)
        x = self._scale(batch["image"], pixel_key, index)
        latents, kl = self._posterior(variables, x, latent_key, index, self._label(batch))
        mean = self._generate(variables, latents, self._label(batch))
        log_prob = distributions.gaussian_log_prob(x, mean, _log_std(variables))
        dimensions = math.prod(self.image_shape)
        parts = {
            "reconstruction": jnp.sum(log_prob, (1, 2, 3)),
            "kl": kl,
            "log_det": jnp.full(kl.shape, dimensions * math.log(2 / self.levels)),
        }
        total = parts["reconstruction"] - parts["kl"] + parts["log_det"]
        return {"log_likelihood": total, **parts}

    def _scale(self, image: Array, key: Array, index: Array) -> Array:
        """Dequantised images in [−1, 1]."""
        return 2 * dequantize(image, self.levels, key, index) - 1

    def _posterior(
        self, variables: Tree, x: Array, key: Array, index: Array, label: Array | None
    ) -> tuple[Array, Array]:
        """z ~ q(z|x), [B, Z], and ln q(z|x) − ln p(z), nats [B]."""
        evidence = self.encoder.apply(variables["encoder"], x, label)[0]
        noise = per_example.normal(key, index, (1, 1, self.generator.num_latents))
        standard = (jnp.zeros(()), jnp.zeros(()))
        z, kl = top_down_vae.draw(noise, standard, (evidence.mean, evidence.log_std), None)
        return z[:, 0, 0], kl

    def _generate(self, variables: Tree, latents: Array, label: Array | None) -> Array:
        names = self.generator.generator_networks
        own = {name: variables[PREFIX + name] for name in names}
        return self.generator.generate(own, latents, label)

    def _label(self, batch: dict[str, Array]) -> Array | None:
        return discriminators.label_of(self.class_conditional, batch)

    def sample(
        self,
        variables: dict[str, Tree],
        rng: Array,
        num_images: int,
        labels: Array | None = None,
        temperature: float = 1.0,
        index: Array | None = None,
    ) -> dict[str, Array]:
        """Draws latents from the prior, and maps them to images.

        Returns:
          `image`, the generator's own, and `with_noise`, a draw from the density; uint8
          [B, H, W, C].
        """
        discriminators.check_labels(self.class_conditional, labels)
        index = jnp.arange(num_images, dtype=jnp.int32) if index is None else index
        latent_key, noise_key = jax.random.split(rng)
        latents = per_example.normal(latent_key, index, (self.generator.num_latents,))
        return self._images(variables, temperature * latents, noise_key, index, labels, temperature)

    def reconstruct(
        self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array, num_draws: int = 1
    ) -> dict[str, Array]:
        """What the generator makes of `num_draws` latents from the posterior of each image."""
        first_key, further_key = jax.random.split(rng)
        images = []
        for key in (first_key, *jax.random.split(further_key, num_draws - 1)):
            latents = self.encode(variables, batch, key)
            mean = self._generate(variables, latents, self._label(batch))
            images.append(requantize((mean + 1) / 2, self.levels))
        return numbered(images)

    def encode(self, variables: dict[str, Tree], batch: dict[str, Array], rng: Array) -> Array:
        """Draws latents from the posterior, float32 [B, Z]."""
        pixel_key, latent_key = jax.random.split(rng)
        index = per_example.global_index(batch)
        x = self._scale(batch["image"], pixel_key, index)
        return self._posterior(variables, x, latent_key, index, self._label(batch))[0]

    def decode(
        self, variables: dict[str, Tree], latents: Array, rng: Array, index: Array,
        labels: Array | None = None,
    ) -> dict[str, Array]:  # fmt: skip
        """Images given latents of `encode`: `image` and `with_noise`, uint8 [B, H, W, C]."""
        discriminators.check_labels(self.class_conditional, labels)
        return self._images(variables, latents, rng, index, labels, 1.0)

    def _images(
        self, variables: Tree, latents: Array, key: Array, index: Array, label: Array | None,
        temperature: float,
    ) -> dict[str, Array]:  # fmt: skip
        mean = self._generate(variables, latents, label)
        noise = per_example.normal(key, index, self.image_shape)
        noisy = mean + temperature * jnp.exp(_log_std(variables)) * noise
        pictures = {"image": mean, "with_noise": noisy}
        return {name: requantize((x + 1) / 2, self.levels) for name, x in pictures.items()}


def _log_std(variables: Tree) -> Array:
    """ln σ, in the units of [−1, 1]."""
    return variables["noise"]["params"]["log_std"]
