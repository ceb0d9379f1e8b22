"""Variational autoencoder with a normalising flow in its posterior.

p(x | z) is a decoder of one vector z ~ N(0, I) (Kingma & Welling, 2014; thesis 2.10.1). q(z | x) is
a Gaussian, followed by K invertible layers whose parameters the encoder gives as well (Rezende &
Mohamed, 2015; thesis 2.10.3).
"""

from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import choices, optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.losses.kl_warm_up import kl_warm_up
from gm_jax.methods.method import Batch, Choose, Loss, Method, Noise, Player, Variables
from gm_jax.methods.pixelwise_decoder import PixelwiseDecoder
from gm_jax.networks.vae import Encoder, Posterior, bodies
from gm_jax.networks.vector_flow import vector_flow

Array = jax.Array
# Of the gradient of E_q[ln p(x | z)] by the encoder (T 1456–1495).
ESTIMATORS = ("reparametrisation", "score_function")


class Vae(PixelwiseDecoder):
    """One player, whose loss is minus the evidence lower bound, with a KL that may be annealed."""

    likelihood = "bound"
    generator_networks = ("decoder",)

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        self.num_latents, self.estimator = model.num_latents, model.estimator
        if self.estimator not in ESTIMATORS:
            raise ValueError(
                f"model.estimator is '{self.estimator}'; choose among {', '.join(ESTIMATORS)}"
            )
        if self.estimator == "score_function" and model.flow.length:
            raise ValueError(
                f"model.estimator is 'score_function', and model.flow.length {model.flow.length}: "
                "it is for Gaussian posteriors; set model.flow.length=0"
            )
        of_encoder, of_decoder = bodies(
            model.network, self.image_shape, self.num_outputs, self.dtype
        )
        self.encoder = Encoder(of_encoder, model.num_latents, vector_flow(**model.flow))
        self.decoder = self.create_decoder(of_decoder)
        optimizer = optimizers.create(config.optimizer)
        self.players = (Player("model", ("encoder", "decoder"), optimizer, self.loss),)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Draws the parameters."""
        keys, latents = jax.random.split(key), noise.normal(self.num_latents)
        return {
            "encoder": self.encoder.init(keys[0], self.scale(batch["image"]), latents),
            "decoder": self.decoder.init(keys[1], latents),
        }

    def loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """−ln p(x | z) + λ(step)·KL, in nats per image.

        The KL of a Gaussian posterior is in closed form (thesis, Eq. 2.45); with a flow it is the
        one draw of ln q(z | x) − ln p(z) (Rezende & Mohamed, Eq. 15). By the score function, z is a
        constant of ln p(x | z), and a term that is 0 has the gradient of the encoder.
        """
        posterior, log_prob = self._draw_and_score(variables, batch, noise, self.estimator)
        kl = posterior.sampled_kl() if self.model.flow.length else posterior.closed_form_kl()
        weight = self.kl_weight(step)
        terms = {"reconstruction": -log_prob, "regularization": weight * kl}
        if self.estimator == "score_function":
            terms["score_function"] = posterior.score_function(-log_prob)
        return Loss(
            terms, {"kl": kl, "kl_weight": weight, "bits_per_dim": self.bits(log_prob - kl)}
        )

    def kl_weight(self, step: Array) -> Array:
        """λ, which rises linearly from `kl_start` to 1 over `kl_annealing_steps`, float32 [].

        Rezende & Mohamed weigh ln p(x, z) instead (Eq. 20); this is the warm-up of later code.
        """
        return kl_warm_up(step, self.model.kl_start, self.model.kl_annealing_steps)

    def log_likelihood(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """One-sample bound, `log_likelihood` = `reconstruction` − `kl`: ln p(x, z) − ln q(z | x).

        The KL is that of the draw for Gaussian posteriors, too: in closed form it would have less
        noise, but the mean of several exp(log_likelihood) would no longer estimate p(x), and what
        `importance_weighted_likelihood` makes of them could lie above ln p(x).
        """
        posterior, log_prob = self._draw_and_score(variables, batch, noise)
        kl = posterior.sampled_kl()
        return {"log_likelihood": log_prob - kl, "reconstruction": log_prob, "kl": kl}

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """Draws latents from the posterior, float32 [B, Z]."""
        return self._posterior(variables, batch, noise).latents

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws latents from N(0, T²·I), float32 [B, Z]."""
        return temperature * noise.normal(self.num_latents)

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws z, then `image` given z, around the means `f_z`."""
        latents, pixels = noise.split()
        z = self.sample_latents(variables, latents, temperature)
        return self.images(variables, z, pixels, temperature)

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps latents [B, Z] to the means of images, clipped to [−1, 1]."""
        self.check_labels(labels)
        return self.mean_image(variables, latents)

    def code_latents(
        self, variables: Variables, image: Array, latents: Any, choose: Choose
    ) -> Array:
        """The latents' bins of `choices.latents_of`, int32 [B, Z]."""
        x, nothing = self.scale(image), jnp.zeros((len(image), self.num_latents))
        posterior = cast(Posterior, self.encoder.apply(variables["encoder"], x, nothing))
        return choose(choices.bin_masses(posterior.mean, posterior.log_std), latents)

    def code_image(
        self, variables: Variables, latents: Any, image: Array, choose: Choose
    ) -> tuple[Array, Array]:
        """Chooses the bins, equally likely, and then all pixels."""
        bins = choose(choices.uniform_masses((len(image), self.num_latents)), latents)
        return bins, self.image_chosen(variables, choices.latents_of(bins), image, choose)

    def why_not_coded(self) -> str:
        """A flow's posterior has no masses in closed form."""
        if self.model.flow.length:
            return (
                f"the {self.model.flow.kind} flow of its posterior has no masses on a grid; train "
                "with model.flow.length=0"
            )
        return super().why_not_coded()

    def _draw_and_score(
        self, variables: Variables, batch: Batch, noise: Noise, estimator: str = ESTIMATORS[0]
    ) -> tuple[Posterior, Array]:
        """A draw from the posterior and ln p(x | z) [B]."""
        latents, pixels = noise.split() if self.pixels.continuous else (noise, noise)
        posterior = self._posterior(variables, batch, latents)
        z = posterior.latents
        if estimator == "score_function":
            z = jax.lax.stop_gradient(z)
        return posterior, self.log_prob_given(variables, batch, z, pixels)

    def _posterior(self, variables: Variables, batch: Batch, noise: Noise) -> Posterior:
        x, drawn = self.scale(batch["image"]), noise.normal(self.num_latents)
        return cast(Posterior, self.encoder.apply(variables["encoder"], x, drawn))
