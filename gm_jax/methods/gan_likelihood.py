"""Bits/dim of a GAN (Lucas et al., 2019, section 5, "Evaluation metrics").

A generator's images fill no volume, so they have no density. "To endow a GAN with a full support
and a likelihood, we train an inference network 'around it', while keeping the weights of the GAN
generator fixed. We also train an isotropic noise parameter σ": p(x|z) = N(x; G(z), σ² I).
"""

from typing import Any

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.dequantization import CENTRED, requantize
from gm_jax.flows.dequantise import Dequantise
from gm_jax.flows.transform import Context
from gm_jax.methods.frozen_networks import FrozenNetworks
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks import top_down_vae
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array


class GanLikelihood(Method):
    """One player: encoder and σ maximise a bound on ln p of dequantised images.

    The noise was added to a model without a density, so its bits/dim are bracketed (Table 1).
    """

    likelihood = "bracketed"

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        generator = (frozen or {}).get("generator")
        if generator is None:
            raise ValueError(
                "frozen.generator is empty; give the work directory of a trained run, as in "
                "--config.frozen.generator=runs/adaptive_density-gan,digits"
            )
        can = "generate" in generator.capabilities
        if not (can and generator.num_latents and generator.generator_networks):
            raise ValueError(
                f"frozen.generator={config.frozen.generator}: {type(generator).__name__} does not "
                "generate images from a latent vector; give a run of a model that does"
            )
        self.generator = generator
        self.frozen = FrozenNetworks("generator", generator, generator.generator_networks)
        self.encoder = top_down_vae.Encoder(
            top_latents=generator.num_latents,
            num_latents=0,
            flow=False,
            num_classes=self.condition_on_classes(generator.class_conditional),
            dtype=self.dtype,
            **config.model.encoder,
        )
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("inference", ("encoder", "noise"), optimizer, self.loss),)

    def init_networks(
        self, key: Array, batch: Batch, noise: Noise, pretrained: dict[str, Any] | None = None
    ) -> Variables:
        """Initialises the encoder on data.

        Args:
          pretrained: as for `FrozenNetworks.start`.
        """
        encoder_key, generator_key = jax.random.split(key)
        (x, _), label = self._dequantised(batch, noise), self.label(batch)
        return {
            **self.frozen.start(generator_key, batch, pretrained),
            "encoder": data_dependent_init(self.encoder, encoder_key, x, label)[1],
            "noise": {"params": {"log_std": jnp.float32(self.model.init_log_std)}},
        }

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """Minus the bound, in nats per image."""
        bound = self.log_likelihood(variables, batch, noise)
        signs = {"reconstruction": -1, "kl": 1, "log_det": -1}
        terms = {name: sign * bound[name] for name, sign in signs.items()}
        bits = self.bits(bound["log_likelihood"])
        return Loss(terms, {"bits_per_dim": bits, "log_std": _log_std(variables)})

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound on ln p of the images.

        Returns:
          `log_likelihood` = `reconstruction` − `kl` + `log_det`: ln N(x; G(z), σ² I) of x in
          [−1, 1]; ln q(z|x) − ln p(z); and the log volume of a level, D ln(2/levels).
        """
        pixels, latent_noise = noise.split()
        (x, log_volume), label = self._dequantised(batch, pixels), self.label(batch)
        latents, kl = self._posterior(variables, x, latent_noise, label)
        mean = self._generate(variables, latents, label)
        log_prob = distributions.gaussian_log_prob(x, mean, _log_std(variables))
        parts = {
            "reconstruction": jnp.sum(log_prob, (1, 2, 3)),
            "kl": kl,
            "log_det": log_volume,
        }
        total = parts["reconstruction"] - parts["kl"] + parts["log_det"]
        return {"log_likelihood": total, **parts}

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws latents; `image` is the generator's, `with_noise` a draw from the density."""
        latent_noise, pixels = noise.split()
        latents = temperature * latent_noise.normal(self.generator.num_latents)
        return self._images(variables, latents, pixels, labels, temperature)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """Draws latents from the posterior, float32 [B, Z]."""
        pixels, latent_noise = noise.split()
        x, _ = self._dequantised(batch, pixels)
        return self._posterior(variables, x, latent_noise, self.label(batch))[0]

    def decode(
        self, variables: Variables, latents: Array, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Decodes latents to `image` and `with_noise`."""
        return self._images(variables, latents, noise, self.check_labels(labels), 1.0)

    def _images(
        self,
        variables: Variables,
        latents: Array,
        noise: Noise,
        labels: Array | None,
        temperature: float,
    ) -> dict[str, Array]:
        mean = self._generate(variables, latents, labels)
        deviation = temperature * jnp.exp(_log_std(variables))
        noisy = mean + deviation * noise.normal(*self.image_shape)
        pictures = {"image": mean, "with_noise": noisy}
        return {name: requantize(x, self.levels, CENTRED) for name, x in pictures.items()}

    def _posterior(
        self, variables: Variables, x: Array, noise: Noise, label: Array | None
    ) -> tuple[Array, Array]:
        """z ~ q(z|x), [B, Z], and ln q(z|x) − ln p(z), nats [B]."""
        evidence = self.encoder.apply(variables["encoder"], x, label)[0]
        standard = (jnp.zeros(()), jnp.zeros(()))
        drawn = noise.normal(1, 1, self.generator.num_latents)
        z, kl = top_down_vae.draw(drawn, standard, (evidence.mean, evidence.log_std), None)
        return z[:, 0, 0], kl

    def _generate(self, variables: Variables, latents: Array, label: Array | None) -> Array:
        return self.generator.generate(self.frozen.of(variables), latents, label)

    def _dequantised(self, batch: Batch, noise: Noise) -> tuple[Array, Array]:
        """Images in [−1, 1], and the log volume of a level, nats [B]."""
        dequantise = Dequantise(self.levels, interval=(-1.0, 1.0))
        return dequantise.forward_and_log_det(batch["image"], Context(False, noise))


def _log_std(variables: Variables) -> Array:
    """ln σ, in the units of [−1, 1]."""
    return variables["noise"]["params"]["log_std"]
