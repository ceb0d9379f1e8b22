"""What GANs with an encoder and one vector of latents share: samples, reconstructions, latents."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax import optimizers
from gm_jax.data.fields import DataSpec
from gm_jax.dequantization import CENTRED, dequantize, requantize
from gm_jax.methods.method import Batch, Loss, Method, Noise, Player, Variables
from gm_jax.networks import dcgan

Array = jax.Array
Objective = Callable[[Variables, Batch, Noise, Array], Loss]
REDUCTIONS = {"sum": jnp.sum, "mean": jnp.mean}


class AutoEncodingGan(Method):
    """An encoder E and a generator G, both with batch norm.

    The papers leave open whether E draws its codes; here E(x) is a point, and varies with the
    dequantisation of x alone. In training both normalise by the moments of the batch that they are
    given. Samples and all evaluation use moments of E over images, and of G over what its own
    updates generate: running averages, or those that are estimated anew before scoring.

    A method writes `encoder`, the losses and `players`; one whose prior is not N(0, I) overrides
    `sample_latents` and `to_prior`.
    """

    generator_networks = ("generator",)
    encoder: dcgan.Encoder

    def __init__(self, config: Any, data: DataSpec, frozen: dict[str, Method] | None = None):
        super().__init__(config, data, frozen)
        model = config.model
        if model.reconstruction.reduction not in REDUCTIONS:
            raise ValueError(
                f"model.reconstruction.reduction is '{model.reconstruction.reduction}'; choose "
                f"among {', '.join(REDUCTIONS)}"
            )
        self.num_latents = model.num_latents
        self.generator = dcgan.Generator(self.image_shape, dtype=self.dtype, **model.generator)

    def player(self, name: str, loss: Objective, updates: int = 1) -> Player:
        """The player that moves the network of its name `updates` times a step, at its own rate."""
        return Player(name, (name,), optimizers.create(self.config.optimizer, updates, name), loss)

    def init_networks(self, key: Array, batch: Batch, noise: Noise) -> Variables:
        """Initialises both, with running averages of images and of samples from the prior."""
        keys, (pixels, latents) = jax.random.split(key), noise.split()
        z = self.sample_latents({}, latents)
        return {
            "encoder": self.encoder.init(keys[0], self.real(batch, pixels), True),
            "generator": self.generator.init(keys[1], z, True),
        }

    def real(self, batch: Batch, noise: Noise) -> Array:
        """Images in [−1, 1], dequantised: samples are continuous, so a grid would be told apart."""
        return dequantize(batch["image"], self.levels, noise, CENTRED)

    def encode_in_training(self, variables: Variables, x: Array) -> tuple[Array, Variables]:
        """Codes [B, Z] of images in [−1, 1], and E's new running statistics for a `Loss`."""
        z, moved = self.encoder.apply(variables["encoder"], x, True, mutable=["batch_stats"])
        return self.to_prior(z), {"encoder": moved}

    def generate_in_training(self, variables: Variables, z: Array) -> tuple[Array, Variables]:
        """Images of latents [B, Z], and G's new running statistics for a `Loss`."""
        x, moved = self.generator.apply(variables["generator"], z, True, mutable=["batch_stats"])
        return x, {"generator": moved}

    def l1(self, x: Array, y: Array) -> Array:
        """‖x − y‖₁ of images in [−1, 1], [B], summed or averaged over their values.

        α-GAN does not say which of both; AGE's code averages.
        """
        reduce = REDUCTIONS[self.model.reconstruction.reduction]
        return reduce(jnp.abs(x - y), (1, 2, 3))

    def to_prior(self, z: Array) -> Array:
        """Maps E's outputs to where the prior lives: anywhere, if it is normal."""
        return z

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> Array:
        """The codes E(x), float32 [B, Z]."""
        x = self.real(batch, noise)
        return self.to_prior(cast(Array, self.encoder.apply(variables["encoder"], x)))

    def generate(self, variables: Variables, latents: Array, labels: Array | None = None) -> Array:
        """Maps latents [B, Z] to images in [−1, 1], from where `to_prior` puts them."""
        self.check_labels(labels)
        z = self.to_prior(latents)
        return cast(Array, self.generator.apply(variables["generator"], z))

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """The `image` of each latent; the noise is unused, as G draws nothing."""
        x = self.generate(variables, latents, labels)
        return {"image": requantize(x, self.levels, CENTRED)}

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
        """Draws latents from the prior and maps them to `image`."""
        return self.decode(
            variables, self.sample_latents(variables, noise, temperature), noise, labels
        )

    def score(self, variables: Variables, batch: Batch, noise: Noise) -> dict[str, Array]:
        """`reconstruction_error` [B]: the mean of |x − G(E(x))| over an image, from 0 to 2."""
        x = self.real(batch, noise)
        again = self.generate(variables, self.encode(variables, batch, noise))
        return {"reconstruction_error": jnp.mean(jnp.abs(x - again), (1, 2, 3))}
