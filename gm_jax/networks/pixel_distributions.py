"""What the outputs of an autoregressive image network say of a pixel: its distribution."""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.cpu import draw_flat
from gm_jax.nn.noise import Noise, standard_logistic

Array = jax.Array
Drawn = tuple[Array, ...]  # noise, [B, H, W, ...] each


class PixelDistribution(Protocol):
    """The distribution of pixels [B, H, W, C], given parameters [B, H, W, P] of each."""

    def log_prob(self, x: Array, parameters: Array) -> Array:
        """ln p of every pixel, in nats [B, H, W]."""

    def noise(self, noise: Noise, image_shape: tuple[int, int, int]) -> Drawn:
        """What `draw` needs for images of a shape (H, W, C)."""

    def draw(self, parameters: Array, drawn: Drawn, temperature: float) -> Array:
        """The pixels that the noise determines, float32 [B, H, W, C]."""


@dataclasses.dataclass(frozen=True)
class LogisticMixture:
    """The mixture of discretized logistics of PixelCNN++; pixels are in [−1, 1].

    Attributes:
      levels: number of levels of a value; a drawn value is on one of them.
      num_mixtures: K.
      min_log_scale: the log-scales are clipped to at least this.
    """

    levels: int
    num_mixtures: int
    min_log_scale: float = distributions.MIN_LOG_SCALE

    def log_prob(self, x: Array, parameters: Array) -> Array:
        """ln p of every pixel, in nats [B, H, W]."""
        return distributions.discretized_logistic_mixture_log_prob(
            x, parameters, self.levels, self.min_log_scale
        )

    def noise(self, noise: Noise, image_shape: tuple[int, int, int]) -> Drawn:
        """Gumbel [B, H, W, K] and standard logistic [B, H, W, C]."""
        height, width, channels = image_shape

        def draw(example_key: Array) -> tuple[Array, Array]:
            mixture_key, pixel_key = jax.random.split(example_key)
            return (
                draw_flat(jax.random.gumbel, mixture_key, (height, width, self.num_mixtures)),
                standard_logistic(pixel_key, (height, width, channels)),
            )

        return jax.vmap(draw)(noise.keys())

    def draw(self, parameters: Array, drawn: Drawn, temperature: float) -> Array:
        """Pixels on the grid of levels; the temperature scales logistics and divides logits."""
        gumbel, logistic = drawn
        return distributions.discretized_logistic_mixture_sample(
            parameters, gumbel, logistic, self.levels, temperature, self.min_log_scale
        )


@dataclasses.dataclass(frozen=True)
class Categorical:
    """One of C categories, whose logits are the parameters; a pixel is one-hot in C channels."""

    def log_prob(self, x: Array, parameters: Array) -> Array:
        """ln p of every pixel, in nats [B, H, W]."""
        return jnp.sum(x * jax.nn.log_softmax(parameters), -1)

    def noise(self, noise: Noise, image_shape: tuple[int, int, int]) -> Drawn:
        """Gumbel [B, H, W, C]."""
        draw = jax.vmap(lambda key: draw_flat(jax.random.gumbel, key, image_shape))
        return (draw(noise.keys()),)

    def draw(self, parameters: Array, drawn: Drawn, temperature: float) -> Array:
        """One-hot pixels; the temperature divides the logits, and 0 takes the likeliest."""
        (gumbel,) = drawn
        chosen = jnp.argmax(parameters + temperature * gumbel, -1)
        return jax.nn.one_hot(chosen, parameters.shape[-1])
