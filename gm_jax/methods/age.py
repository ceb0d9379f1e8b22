"""Adversarial generator-encoder networks (AGE; Ulyanov et al., 2017), a baseline of α-GAN.

There is no discriminator. The encoder's codes of images shall follow the prior, and its codes of
samples shall not; the generator wants the latter to follow it, too. Distance from the prior is the
divergence of a batch's moments from the standard normal, though the prior is uniform on the unit
sphere (α-GAN's paper writes "ball"). There it is never 0: m² + s² sum to 1 over the n latents, so
it is at least ½(1/n + ln n − 1) nats per latent, reached at m = 0 and equal s.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax.data.fields import DataSpec
from gm_jax.losses.empirical_kl import empirical_kl
from gm_jax.losses.reconstruction import l1
from gm_jax.methods.auto_encoding_gan import AutoEncodingGan
from gm_jax.methods.method import Batch, Loss, Method, Noise, Variables
from gm_jax.networks import dcgan

Array = jax.Array


class Age(AutoEncodingGan):
    """The encoder moves, then the generator, several times; the batches of data and of samples are
    normalised apart.
    """

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        if self.num_latents < 2:
            raise ValueError(
                f"model.num_latents is {self.num_latents}: the latents are a unit sphere's points, "
                "and a sphere of one has two; give 2 or more"
            )
        _check_temperature("sample.temperature", config.sample.temperature)
        self.l1 = l1(model.reconstruction.reduction)  # AGE's code averages
        self.encoder = dcgan.Encoder(
            self.num_latents,
            slope=0.2,
            first_batch_norm=False,
            dtype=self.dtype,
            **model.encoder,
        )
        encoder = self.player("encoder", self.encoder_loss)
        generator = self.player("generator", self.generator_loss, model.generator_steps)
        self.players = (encoder, *(generator,) * model.generator_steps)

    def encoder_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """KL(E(x)) − KL(E(G(z))) + µ‖x − G(E(x))‖₁."""
        pixels, latents = noise.split()
        x, z = self.real(batch, pixels), self.sample_latents(variables, latents)
        codes, statistics = self.encode_in_training(variables, x)
        again, _ = self.generate_in_training(variables, codes)
        samples, _ = self.generate_in_training(variables, z)
        codes_of_samples, _ = self.encode_in_training(variables, samples)
        terms = {
            "divergence_of_images": self.divergence(codes),
            "divergence_of_samples": -self.divergence(codes_of_samples),
            "reconstruction": self.model.reconstruction.image_weight * self.l1(x, again),
        }
        return Loss(terms, statistics=statistics)

    def generator_loss(self, variables: Variables, batch: Batch, noise: Noise, step: Array) -> Loss:
        """KL(E(G(z))) + λ(1 − cos(z, E(G(z))))."""
        z = self.sample_latents(variables, noise)
        samples, statistics = self.generate_in_training(variables, z)
        codes, _ = self.encode_in_training(variables, samples)
        terms = {
            "divergence_of_samples": self.divergence(codes),
            "reconstruction": self.model.reconstruction.code_weight * (1 - jnp.sum(z * codes, 1)),
        }
        return Loss(terms, statistics=statistics)

    def divergence(self, codes: Array) -> Array:
        """The divergence of a batch's moments from N(0, I), in nats per latent."""
        return empirical_kl(codes, self.model.kl_moment)

    def to_prior(self, z: Array) -> Array:
        """Projects onto the unit sphere."""
        return z * jax.lax.rsqrt(jnp.sum(jnp.square(z), 1, keepdims=True) + 1e-12)

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws latents uniformly from the unit sphere, float32 [B, Z]."""
        _check_temperature("temperature", temperature)
        return self.to_prior(super().sample_latents(variables, noise))

    def check_latents(self, latents: Any) -> None:
        """Refuses latents that are not [N, Z] of norm 1."""
        super().check_latents(latents)
        norms = np.linalg.norm(latents, axis=1)
        if not np.allclose(norms, 1, atol=1e-3):
            raise ValueError(
                f"latents have norms from {norms.min():.3g} to {norms.max():.3g}; those of AGE lie "
                "on the unit sphere: divide each by its norm"
            )

    def interpolate(self, start: Any, end: Any, weights: np.ndarray) -> np.ndarray:
        """Interpolates on the sphere: the chord's points, projected."""
        chord = super().interpolate(start, end, weights)
        return chord / np.maximum(np.linalg.norm(chord, axis=1, keepdims=True), 1e-12)


def _check_temperature(name: str, temperature: float) -> None:
    if temperature != 1:
        raise ValueError(f"{name} is {temperature}: points of a sphere have no scale; set 1")
