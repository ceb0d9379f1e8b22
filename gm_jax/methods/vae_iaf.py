"""VAE with inverse autoregressive flow (Kingma et al., 2016), the half of AGAVE that sketches.

It is a hierarchical VAE with a factored decoder: given z, the values of the image are independent
logistics around the means f(z). It maximises the evidence lower bound with free bits, or the
k-sample bound (Burda et al., 2016).
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import distributions, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.losses.free_bits import free_bits
from gm_jax.losses.importance_weighted import importance_weighted
from gm_jax.methods.method import Batch, Choose, Loss, Method, Noise, Player, Variables
from gm_jax.networks.decoder_distributions import DiscretizedLogistic
from gm_jax.networks.hierarchical_vae import HierarchicalVAE, Reconstruction
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array


class VaeIaf(Method):
    """One player, whose loss is minus a bound on ln p(x).

    The published likelihood, log(σ(a) − σ(b) + 1e-7), assigns the tails of a logistic to no level,
    so its 256 masses sum to less than one. Here the end levels take the tails. The means and the
    single log-scale refer to images in [−1, 1], not [−½, ½ − 1/256]; `init_log_scale` corresponds
    to the published initial value of 0 there.
    """

    likelihood = "bound"
    channels = (1, 3)

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        if model.num_importance_samples > 1 and model.free_bits > 0:
            raise ValueError(
                f"model.free_bits = {model.free_bits} with {model.num_importance_samples} "
                "importance samples: the k-sample bound has no divergence to floor; set "
                "model.free_bits=0, or model.num_importance_samples=1"
            )
        self.vae = HierarchicalVAE(
            channels=self.image_shape[-1],
            downsampling=1,
            levels=self.levels,
            num_log_scales=1,
            dtype=self.dtype,
            **model.vae,
        )
        self.players = (Player("model", ("vae",), optimizers.create(config.optimizer), self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises the network on data."""
        return {"vae": data_dependent_init(self.vae, key, self.scale(batch["image"]), noise)[1]}

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """Minus the bound, in nats per image; with k = 1, free bits floor the divergence."""
        x = self.scale(batch["image"])
        evidences = self.vae.apply(variables["vae"], x, method="encode")

        def weigh(key: Array) -> tuple[Array, Array]:
            latent_noise = noise.replace(key=key)
            decoded = self.vae.apply(
                variables["vae"], evidences, x.shape[1:3], latent_noise, method="decode"
            )
            reconstruction = cast(Reconstruction, decoded)
            return self._log_prob(x, reconstruction), reconstruction.kl

        num_samples = self.model.num_importance_samples
        log_prob, kl = jax.vmap(weigh)(jax.random.split(noise.key, num_samples))
        bound = importance_weighted(log_prob - jnp.sum(kl, (2, 3)))
        if num_samples == 1:
            floored = free_bits(kl[0], self.model.free_bits)
            terms = {"reconstruction": -log_prob[0], "regularization": floored}
        else:
            terms = {"importance_weighted": -bound}
        return Loss(terms, {"kl": jnp.sum(kl, (2, 3)), "bits_per_dim": self.bits(bound)})

    def _log_prob(self, x: Array, reconstruction: Reconstruction) -> Array:
        """Σ_i ln p(x_i | z) in nats [B]."""
        log_prob = distributions.discretized_logistic_log_prob(
            x, reconstruction.mean, reconstruction.log_scale, self.levels
        )
        return jnp.sum(log_prob, (1, 2, 3))

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound without free bits: `log_likelihood` = `reconstruction` − `kl`."""
        x = self.scale(batch["image"])
        decoded = self._encoded(variables, x, noise)
        reconstruction, kl = self._log_prob(x, decoded), jnp.sum(decoded.kl, (1, 2))
        return {"log_likelihood": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws z, then `image` given z, around the means `f_z`."""
        latent_noise, pixel_noise = noise.split()
        decoded = self._decoded(variables, latent_noise, None, temperature)
        return self._images(decoded, pixel_noise, temperature)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> list[Array]:
        """Draws latents from the posterior: one [B, h, w, Z] per block, from the top."""
        return self._encoded(variables, self.scale(batch["image"]), noise).latents

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Draws `image` around the means `f_z`."""
        self.check_labels(labels)
        return self._images(self._decoded(variables, noise, latents), noise, 1.0)

    def code_latents(
        self, variables: Variables, image: Array, latents: Any, choose: Choose
    ) -> list[Array]:
        """The bins of `HierarchicalVAE.choose`, by the posteriors."""
        evidences = self.vae.apply(variables["vae"], self.scale(image), method="encode")
        arguments = (evidences, self.image_shape[:2], latents, choose)
        return self.vae.apply(variables["vae"], *arguments, method="choose")[0]

    def code_image(
        self, variables: Variables, latents: Any, image: Array, choose: Choose
    ) -> tuple[list[Array], Array]:
        """Chooses the bins block by block from the top, and then all pixels."""
        arguments = (None, self.image_shape[:2], latents, choose)
        chosen_latents: Any = self.vae.apply(variables["vae"], *arguments, method="choose")
        bins, decoded = chosen_latents
        parameters = decoded.mean, jnp.broadcast_to(decoded.log_scale, decoded.mean.shape)
        pixels = DiscretizedLogistic(self.levels, 0.0)
        chosen = pixels.chosen(parameters, image.astype(jnp.int32), choose)
        return bins, distributions.quantize(chosen, self.levels)

    def why_not_coded(self) -> str:
        """A flow's posterior has no masses in closed form."""
        if self.model.vae.flow:
            return "its posterior has a flow, without masses on a grid; set model.vae.flow=False"
        return super().why_not_coded()

    def _encoded(self, variables: Variables, x: Array, noise: Noise) -> Reconstruction:
        """The decoder's output given a draw from the posterior."""
        return cast(Reconstruction, self.vae.apply(variables["vae"], x, noise))

    def _decoded(
        self, variables: Variables, noise: Noise, latents: Any, temperature: float = 1.0
    ) -> Reconstruction:
        """The decoder's output given latents, or given a draw from the prior."""
        arguments = (None, self.image_shape[:2], noise, latents, temperature)
        decoded = self.vae.apply(variables["vae"], *arguments, method="decode")
        return cast(Reconstruction, decoded)

    def _images(
        self, decoded: Reconstruction, noise: Noise, temperature: float
    ) -> dict[str, Array]:
        image = distributions.discretized_logistic_sample(
            decoded.mean,
            decoded.log_scale,
            noise.logistic(*self.image_shape),
            self.levels,
            temperature,
        )
        pictures = {"f_z": decoded.mean, "image": image}
        return {name: distributions.quantize(x, self.levels) for name, x in pictures.items()}
