"""The distribution of an image that the outputs of an autoregressive network stand for.

Images are float32 [B, H, W, C], here and in `decoder_distributions.py` on the grid of levels in
[−1, 1] unless a class says otherwise.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.choices import Choose
from gm_jax.cpu import draw_flat
from gm_jax.nn.noise import Noise, standard_logistic

Array = jax.Array
Parameters = Any  # an array or a tree of arrays
Drawn = tuple[Array, ...]  # noise, [B, H, W, ...] each
Shape = tuple[int, int, int]
Param = Callable[[str, Callable[..., Array], tuple[int, ...]], Array]  # a module's `param`


class PixelDistribution(Protocol):
    """p(x) of images, given parameters: pixels are independent given these."""

    def log_prob(self, x: Array, parameters: Parameters) -> Array:
        """ln p of images, in nats [B]."""

    def noise(self, noise: Noise, image_shape: Shape) -> Drawn:
        """What `draw` needs for images of a shape (H, W, C)."""

    def draw(self, parameters: Parameters, drawn: Drawn, temperature: float) -> Array:
        """The images that the noise determines."""


class DiscreteDistribution(PixelDistribution, Protocol):
    """One with masses, by which images can be coded."""

    def chosen(self, parameters: Parameters, given: Array, choose: Choose) -> Array:
        """The images whose values `choose` chooses, given them int32 [B, H, W, ...]."""


@dataclasses.dataclass(frozen=True)
class LogisticMixture:
    """The mixture of discretized logistics of PixelCNN++.

    Attributes:
      levels: number of levels of a value.
      num_mixtures: K.
      min_log_scale: the log-scales are clipped to at least this.
    """

    levels: int
    num_mixtures: int
    min_log_scale: float = distributions.MIN_LOG_SCALE
    continuous = False

    def num_outputs(self, channels: int) -> int:
        """K(1 + 2C + C(C − 1)/2)."""
        return distributions.num_mixture_parameters(self.num_mixtures, channels)

    def parameters(self, outputs: Array, param: Param) -> Array:
        """The outputs themselves."""
        return outputs

    def log_prob(self, x: Array, parameters: Array) -> Array:
        """ln p of images, in nats [B]."""
        log_prob = distributions.discretized_logistic_mixture_log_prob(
            x, parameters, self.levels, self.min_log_scale
        )
        return jnp.sum(log_prob, (1, 2))

    def noise(self, noise: Noise, image_shape: Shape) -> Drawn:
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
        """Draws images; the temperature scales the logistics and divides the mixture's logits."""
        gumbel, logistic = drawn
        return distributions.discretized_logistic_mixture_sample(
            parameters, gumbel, logistic, self.levels, temperature, self.min_log_scale
        )

    def chosen(self, parameters: Array, given: Array, choose: Choose) -> Array:
        """The images whose values `choose` chooses, channel by channel."""
        channels = given.shape[-1]

        def masses(known: list[Array]) -> Array:
            return distributions.discretized_logistic_mixture_masses(
                known, parameters, channels, self.levels, self.min_log_scale
            )

        return chosen_in_turn(masses, given, self.levels, choose)

    def mean(self, parameters: Array) -> Array:
        """The means of the likeliest components."""
        *pixels, count = parameters.shape
        # K(1 + 2C + C(C − 1)/2) outputs grow with C.
        channels = next(c for c in range(1, count + 1) if self.num_outputs(c) == count)
        none = jnp.zeros((*pixels, self.num_mixtures)), jnp.zeros((*pixels, channels))
        return self.draw(parameters, none, 0.0)


@dataclasses.dataclass(frozen=True)
class Categorical:
    """One of C categories, whose logits are the parameters; a pixel is one-hot in C channels."""

    def log_prob(self, x: Array, parameters: Array) -> Array:
        """ln p of images, in nats [B]."""
        return jnp.sum(x * jax.nn.log_softmax(parameters), (1, 2, 3))

    def noise(self, noise: Noise, image_shape: Shape) -> Drawn:
        """Gumbel [B, H, W, C]."""
        return (gumbel_noise(noise, image_shape),)

    def draw(self, parameters: Array, drawn: Drawn, temperature: float) -> Array:
        """Draws one-hot pixels; the temperature divides the logits, and 0 takes the likeliest."""
        (gumbel,) = drawn
        chosen = jnp.argmax(parameters + temperature * gumbel, -1)
        return jax.nn.one_hot(chosen, parameters.shape[-1])

    def chosen(self, parameters: Array, given: Array, choose: Choose) -> Array:
        """One-hot pixels of the categories that `choose` chooses, given them int32 [B, H, W, 1]."""
        category = choose(jax.nn.softmax(parameters), given[..., 0])
        return jax.nn.one_hot(category, parameters.shape[-1])


def chosen_in_turn(
    masses: Callable[[list[Array]], Array], given: Array, levels: int, choose: Choose
) -> Array:
    """The images whose values `choose` chooses, one channel after another.

    Args:
      masses: maps the values of the channels before, [B, H, W] in [−1, 1] each, to the masses of
        the next one's levels, [B, H, W, levels].
      given: int32 [B, H, W, C], for `choose`.
      levels: number of levels of a value.
      choose: chooses a level of every pixel.

    Returns:
      Images float32 [B, H, W, C].
    """
    known: list[Array] = []
    for channel in range(given.shape[-1]):
        level = choose(masses(known), given[..., channel])
        known.append(distributions.scale_to_unit(level, levels))
    return jnp.stack(known, -1)


def gumbel_noise(noise: Noise, shape: tuple[int, ...]) -> Array:
    """Standard Gumbel noise, float32 [B, *shape]."""
    return jax.vmap(lambda key: draw_flat(jax.random.gumbel, key, shape))(noise.keys())
