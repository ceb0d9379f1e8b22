"""What methods share that draw an image given layers of latents, from the top."""

from typing import Any, Protocol

import jax

from gm_jax.methods.method import Batch, Method, Noise, Variables

Array = jax.Array


class Sketch(Protocol):
    """What a method makes of an image or of latents."""

    @property
    def mean(self) -> Array:
        """f(z)."""

    @property
    def kl(self) -> Array:
        """Nats [B, ...], of parts of the latents; 0 for what was not drawn given an image."""

    @property
    def latents(self) -> list[Array]:
        """A [B, ...] per layer, from the top."""


class LatentLayers(Method):
    """A method that defines `encoded`, `sketch` and `images`."""

    def encoded(self, variables: Variables, x: Array, noise: Noise) -> Sketch:
        """Latents drawn from the posterior given images in [−1, 1], and f(z)."""
        raise NotImplementedError

    def sketch(
        self, variables: Variables, noise: Noise, latents: Any, temperature: float = 1.0
    ) -> Any:
        """The `Sketch` of given latents; those that are None, or all, come from the prior."""
        raise NotImplementedError

    def images(
        self, variables: Variables, sketch: Any, noise: Noise, temperature: float = 1.0
    ) -> dict[str, Array]:
        """Draws `image` given a `Sketch`, with pictures of f(z) by name if there are any."""
        raise NotImplementedError

    def draw(
        self, variables: Variables, noise: Noise, labels: Array | None, temperature: float
    ) -> dict[str, Array]:
        """Draws z, and `image` given f(z)."""
        latent_noise, pixel_noise = noise.split()
        sketch = self.sketch(variables, latent_noise, None, temperature)
        return self.images(variables, sketch, pixel_noise, temperature)

    def encode(self, variables: Variables, batch: Batch, noise: Noise) -> list[Array]:
        """Draws latents from the posterior: one [B, ...] per layer, from the top."""
        return self.encoded(variables, self.scale(batch["image"]), noise).latents

    def decode(
        self, variables: Variables, latents: Any, noise: Noise, labels: Array | None = None
    ) -> dict[str, Array]:
        """Draws `image` given f(z)."""
        self.check_labels(labels)
        return self.images(variables, self.sketch(variables, noise, latents), noise)

    def resample(
        self, variables: Variables, batch: Batch, noise: Noise, level: int
    ) -> dict[str, Array]:
        """Keeps the first `level` layers of an image's latents; draws the others and `image`."""
        encoding, latent_noise, pixel_noise = noise.split(3)
        latents = self.encode(variables, batch, encoding)
        if not 0 <= level <= len(latents):
            raise ValueError(f"level is {level}; give 0 to {len(latents)}, the layers to keep")
        kept = [z if layer < level else None for layer, z in enumerate(latents)]
        return self.images(variables, self.sketch(variables, latent_noise, kept), pixel_noise)

    def sample_latents(
        self, variables: Variables, noise: Noise, temperature: float = 1.0
    ) -> list[Array]:
        """Draws latents from the prior: one [B, ...] per layer, from the top."""
        return self.sketch(variables, noise, None, temperature).latents
