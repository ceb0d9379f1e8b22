"""Ancestral sampling of an autoregressive image network: the noise and the fixed-point sampler."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.cpu import draw_flat
from gm_jax.networks.pixelcnn import PixelCNN
from gm_jax.networks.pixelcnn_cache import sample_with_cache
from gm_jax.nn.noise import Noise, standard_logistic

Array = jax.Array
SAMPLERS = ("cached", "fixed_point")  # both give the ancestral sample that the noise determines


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws images from a PixelCNN.

    Attributes:
      name: one of SAMPLERS; `fixed_point` compiles faster, `cached` samples faster.
      network: the network to sample from.
      image_shape: (H, W, C).
      levels: number of levels of a pixel.
    """

    name: str
    network: PixelCNN
    image_shape: tuple[int, int, int]
    levels: int

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise ValueError(f"sample.sampler is '{self.name}'; choose among {SAMPLERS}")

    def __call__(
        self,
        variables: dict[str, Any],
        conditions: list[tuple[Array, Array]] | None,
        noise: Noise,
        temperature: float,
    ) -> Array:
        """Returns images uint8 [B, H, W, C].

        Args:
          variables: the network's variables.
          conditions: the network's conditions, or None.
          noise: draws the pixels.
          temperature: scales the logistics and divides the mixture logits.
        """
        drawn = pixel_noise(noise, self.image_shape, self.network.num_mixtures)
        if self.name == "cached":
            image = sample_with_cache(
                self.network,
                variables,
                conditions,
                drawn,
                self.image_shape,
                self.levels,
                temperature,
            )
        else:
            image = sample_by_fixed_point(
                lambda x: cast(Array, self.network.apply(variables, x, noise.index, conditions)),
                drawn,
                self.levels,
                temperature,
                self.network.min_log_scale,
            )
        return distributions.quantize(image, self.levels)


def pixel_noise(
    noise: Noise, image_shape: tuple[int, int, int], num_mixtures: int
) -> tuple[Array, Array]:
    """Draws the noise for sampling: Gumbel [B, H, W, K] and standard logistic [B, H, W, C]."""
    height, width, channels = image_shape

    def draw(example_key: Array) -> tuple[Array, Array]:
        mixture_key, pixel_key = jax.random.split(example_key)
        return (
            draw_flat(jax.random.gumbel, mixture_key, (height, width, num_mixtures)),
            standard_logistic(pixel_key, (height, width, channels)),
        )

    return jax.vmap(draw)(noise.keys())


def sample_by_fixed_point(
    parameters_of: Callable[[Array], Array],
    noise: tuple[Array, Array],
    levels: int,
    temperature: float = 1.0,
    min_log_scale: float = distributions.MIN_LOG_SCALE,
) -> Array:
    """Returns the ancestral sample that the noise determines (Jacobi iteration; Song et al., 2021).

    With the noise fixed, every pixel is a function of those before it, and the image is the only
    fixed point of drawing all pixels at once. After n rounds the first n pixels are final, so at
    most H·W rounds reach it, and usually far fewer. The number of rounds is still limited: if later
    pixels change the last bit of an earlier pixel's sum, rounding could go on forever.

    Args:
      parameters_of: maps images [B, H, W, C] in [−1, 1] to mixture parameters, autoregressively.
      noise: from `pixel_noise`.
      levels: number of levels of a pixel; a pixel is rounded to one before it conditions others.
      temperature: scales the logistics and divides the mixture logits.
      min_log_scale: the network's; the published value by default.

    Returns:
      Images float32 [B, H, W, C] on the grid of levels in [−1, 1].
    """
    gumbel_noise, logistic_noise = noise

    height, width = logistic_noise.shape[1:3]

    def draw(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, rounds = carry
        drawn = distributions.discretized_logistic_mixture_sample(
            parameters_of(x), gumbel_noise, logistic_noise, levels, temperature, min_log_scale
        )
        return drawn, jnp.any(drawn != x), rounds + 1

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        _, changed, rounds = carry
        return changed & (rounds < height * width)

    start = (jnp.zeros_like(logistic_noise), jnp.array(True), jnp.array(0))
    return jax.lax.while_loop(unfinished, draw, start)[0]
