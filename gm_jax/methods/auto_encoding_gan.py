"""What GANs with an encoder and one vector of latents share: samples, reconstructions, latents."""

from collections.abc import Callable
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.losses.adversarial import cross_entropy
from gm_jax.losses.reconstruction import l1
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks import dcgan

Array = jax.Array
Objective = Callable[[Variables, Batch, Noise, Array], Loss]


def reparametrised(outputs: Array, noise: Noise) -> Array:
    """µ + σ·ε, ε ~ N(0, I), of a network's outputs [B, ..., 2C], which are µ and ln σ."""
    mean, log_std = jnp.split(outputs, 2, -1)
    return mean + jnp.exp(log_std) * noise.normal(*mean.shape[1:])


class AutoEncodingGan(Method):
    """An encoder E and a generator G, which may have batch norms.

    In training both normalise by the moments of the batch that they are given. Samples and all
    evaluation use moments of E over images, and of G over what its own updates generate: running
    averages, or those that are estimated anew before scoring.

    A method writes `encoder`, the losses and `players`. One whose prior is not N(0, I) overrides
    `sample_latents` and `to_prior`; one that draws its codes overrides `codes`; one with another
    generator than the DCGAN's overrides `create_generator`.
    """

    generator_networks = ("generator",)
    encoder: nn.Module
    generator: nn.Module
    code_discriminator: nn.Module  # of methods that match codes with the prior by one

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        self.num_latents = config.model.num_latents
        self.generator = self.create_generator()

    def create_generator(self) -> nn.Module:
        """The network of `generate`."""
        return dcgan.Generator(self.image_shape, dtype=self.dtype, **self.model.generator)

    def player(
        self, name: str, loss: Objective, updates: int = 1, networks: tuple[str, ...] = ()
    ) -> Player:
        """The player that moves some networks `updates` times a step, at its own rate.

        They are the network of its name unless others are given.
        """
        optimizer = optimizers.create(self.config.optimizer, updates, name)
        return Player(name, networks or (name,), optimizer, loss)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises both, with running averages of images and of samples from the prior."""
        keys, (pixels, latents) = jax.random.split(key), noise.split()
        z = self.sample_latents({}, latents)
        return {
            "encoder": self.encoder.init(keys[0], self.real(batch, pixels), True),
            "generator": self.generator.init(keys[1], z, True),
        }

    def encode_in_training(self, variables: Variables, x: Array) -> tuple[Array, Variables]:
        """E's outputs [B, …] for what `real` returns, and its new statistics for a `Loss`."""
        z, moved = self.encoder.apply(variables["encoder"], x, True, mutable=["batch_stats"])
        return self.to_prior(z), {"encoder": moved} if moved else {}

    def generate_in_training(self, variables: Variables, z: Array) -> tuple[Array, Variables]:
        """G's outputs for latents [B, Z], and its new running statistics for a `Loss`."""
        x, moved = self.generator.apply(variables["generator"], z, True, mutable=["batch_stats"])
        return x, {"generator": moved} if moved else {}

    def code_discriminator_loss(
        self, variables: Variables, batch: Batch, noise: Noise, step: Array
    ) -> Loss:
        """−ln C(z) − ln(1 − C(E(x))): latents of the prior are real, codes made.

        That of α-GAN (line 9, Eq. 17) and of the adversarial auto-encoder (section 2).
        """
        pixels, latents = noise.split()
        codes, _ = self.encode_in_training(variables, self.real(batch, pixels))
        prior = self.sample_latents(variables, latents)
        logits = (self.judged_code(variables, z) for z in (prior, codes))
        return Loss({"cross_entropy": cross_entropy(*logits)})

    def judged_code(self, variables: Variables, z: Array) -> Array:
        """The logits of a method's `code_discriminator` for latents, [B]."""
        return cast(Array, self.code_discriminator.apply(variables["code_discriminator"], z))

    def to_prior(self, z: Array) -> Array:
        """Maps E's outputs to where the prior lives: anywhere, if it is normal."""
        return z

    def codes(self, outputs: Array, noise: Noise) -> Array:
        """The codes [B, Z] of E's outputs, which may be drawn: here E(x) itself.

        The papers of α-GAN and AGE leave open whether E draws; a point varies with the
        dequantisation of x alone.
        """
        return outputs

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """The codes of the data, float32 [B, Z]."""
        pixels, latents = noise.split()
        outputs = self.encoder.apply(variables["encoder"], self.real(batch, pixels))
        return self.codes(self.to_prior(cast(Array, outputs)), latents)

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps latents [B, Z] to images in [−1, 1], from where `to_prior` puts them."""
        self.check_labels(labels)
        z = self.to_prior(latents)
        return cast(Array, self.generator.apply(variables["generator"], z))

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """The `image` or `point` of each latent; the noise is unused, as G draws nothing."""
        return self.examples(self.generate(variables, latents, labels))

    def sample_latents(self, variables: Variables, noise: Noise, temperature: float = 1.0) -> Array:
        """Draws latents from N(0, T²·I), float32 [B, Z]."""
        return temperature * noise.normal(self.num_latents)

    def check_latents(self, latents: Any) -> None:
        """Refuses latents that are not [N, Z]."""
        shape = np.shape(latents)
        if len(shape) != 2 or shape[1] != self.num_latents:
            raise ValueError(
                f"latents have shape {list(shape)}; give [N, {self.num_latents}], as from encode "
                "(model.num_latents)"
            )

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws latents from the prior and maps them to `image` or `point`."""
        return self.decode(
            variables, self.sample_latents(variables, noise, temperature), noise, labels
        )

    def score(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """`reconstruction_error` [B]: the mean of |x − G(E(x))| over an image (0 to 2) or point."""
        x = self.real(batch, noise.split()[0])  # the very values that `encode` encodes
        again = self.generate(variables, self.encode(variables, batch, noise))
        return {"reconstruction_error": l1("mean")(x, again)}
