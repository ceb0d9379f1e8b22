"""Ancestral sampling of an autoregressive image network, all pixels at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gm_jax import distributions
from gm_jax.nn import per_example

Array = jax.Array


def pixel_noise(
    key: Array, index: Array, image_shape: tuple[int, int, int], num_mixtures: int
) -> tuple[Array, Array]:
    """Draws all the noise of a sample: Gumbel [B, H, W, K] and standard logistic [B, H, W, C]."""
    height, width, channels = image_shape

    def draw(example_key: Array) -> tuple[Array, Array]:
        mixture_key, pixel_key = jax.random.split(example_key)
        return (
            jax.random.gumbel(mixture_key, (height, width, num_mixtures)),
            distributions.standard_logistic(pixel_key, (height, width, channels)),
        )

    return jax.vmap(draw)(per_example.keys(key, index))


def sample_by_fixed_point(
    parameters_of: Callable[[Array], Array],
    noise: tuple[Array, Array],
    levels: int,
    temperature: float = 1.0,
) -> Array:
    """Returns the ancestral sample that the noise determines (Jacobi iteration; Song et al., 2021).

    With the noise fixed, every pixel is a function of those before it, and the image is the one
    fixed point of drawing all pixels at once. After n rounds the first n pixels are final, so it is
    reached in at most H·W rounds, and mostly in far fewer.

    Args:
      parameters_of: images [B, H, W, C] in [−1, 1] to mixture parameters, autoregressively.
      noise: of `pixel_noise`.
      levels: of a pixel; each is rounded to its level before it conditions another.
      temperature: scales the logistics and divides the mixture logits.

    Returns:
      Images float32 [B, H, W, C] on the grid of levels in [−1, 1].
    """
    gumbel_noise, logistic_noise = noise

    def draw(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, _ = carry
        drawn = distributions.discretized_logistic_mixture_sample(
            parameters_of(x), gumbel_noise, logistic_noise, levels, temperature
        )
        return drawn, jnp.any(drawn != x)

    start = (jnp.zeros_like(logistic_noise), jnp.array(True))
    return jax.lax.while_loop(lambda carry: carry[1], draw, start)[0]
