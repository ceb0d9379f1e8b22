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
from gm_jax.methods.hierarchy import Hierarchy
from gm_jax.methods.method import Batch, Choose, Loss, Method, Noise, Player, Variables
from gm_jax.networks.decoder_distributions import DiscretizedLogistic
from gm_jax.networks.hierarchical_vae import HierarchicalVAE, Reconstruction
from gm_jax.nn.weight_norm import data_dependent_init

Array = jax.Array


class VaeIaf(Hierarchy):
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
        decoded = self.encoded(variables, x, noise)
        reconstruction, kl = self._log_prob(x, decoded), jnp.sum(decoded.kl, (1, 2))
        return {"log_likelihood": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def code_image(
        self, variables: Variables, latents: Any, image: Array, choose: Choose
    ) -> tuple[list[Array], Array]:
        """Chooses the bins block by block from the top, and then all pixels."""
        bins, decoded = self.code_sketch(variables, latents, choose)
        parameters = decoded.mean, jnp.broadcast_to(decoded.log_scale, decoded.mean.shape)
        pixels = DiscretizedLogistic(self.levels, 0.0)
        chosen = pixels.chosen(parameters, image.astype(jnp.int32), choose)
        return bins, distributions.quantize(chosen, self.levels)

    def images(
        self, variables: Variables, sketch: Reconstruction, noise: Noise, temperature: float = 1.0
    ) -> dict[str, Array]:
        """The means `f_z`, and `image` drawn around them."""
        image = distributions.discretized_logistic_sample(
            sketch.mean,
            sketch.log_scale,
            noise.logistic(*self.image_shape),
            self.levels,
            temperature,
        )
        pictures = {"f_z": sketch.mean, "image": image}
        return {name: distributions.quantize(x, self.levels) for name, x in pictures.items()}
