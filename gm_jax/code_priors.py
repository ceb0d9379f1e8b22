"""Priors of vectors of latents that are not N(0, I): samplers, by name.

The mixture and the swiss roll lie in the plane (Makhzani et al., 2015, figure 4, which does not
give their sizes: these are of a common port); more latents are independent planes.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gm_jax.nn.noise import Noise

Array = jax.Array
COMPONENTS = 10  # of the mixture, one for each digit


def normal(noise: Noise, num_latents: int) -> Array:
    """N(0, I)."""
    return noise.normal(num_latents)


def uniform(noise: Noise, num_latents: int) -> Array:
    """Uniform in [−1, 1)."""
    return 2 * noise.uniform(num_latents) - 1


def mixture(noise: Noise, num_latents: int) -> Array:
    """Ten equally likely Gaussians around a circle of radius 1.4, like petals.

    Their deviations are .5 along the radius, and .1 across it.
    """
    place, component = noise.split()
    along, across = jnp.moveaxis(place.normal(num_latents // 2, 2), -1, 0)
    number = jnp.floor(COMPONENTS * component.uniform(num_latents // 2))
    angle = 2 * math.pi / COMPONENTS * number
    return _turned(1.4 + 0.5 * along, 0.1 * across, angle, num_latents)


def swiss_roll(noise: Noise, num_latents: int) -> Array:
    """A spiral of two turns: radius 3·√u at the angle 4π·√u, u uniform in [0, 1)."""
    share = jnp.sqrt(noise.uniform(num_latents // 2))
    return _turned(3 * share, jnp.zeros_like(share), 4 * math.pi * share, num_latents)


PRIORS: dict[str, Callable[[Noise, int], Array]] = {
    "normal": normal,
    "uniform": uniform,
    "mixture": mixture,
    "swiss_roll": swiss_roll,
}
_OF_PLANES = ("mixture", "swiss_roll")


def create(config: Any, num_latents: int) -> Callable[[Noise], Array]:
    """Returns noise -> latents, float32 [B, Z].

    Args:
      config: `name`, one of PRIORS, and `scale`, by which the latents are multiplied.
      num_latents: Z; the priors of planes take an even number.

    Raises:
      ValueError: there is no such prior, or Z does not fit it.
    """
    if config.name not in PRIORS:
        raise ValueError(f"model.prior.name is '{config.name}'; choose among {', '.join(PRIORS)}")
    if config.name in _OF_PLANES and num_latents % 2:
        raise ValueError(
            f"model.num_latents is {num_latents}, and the prior '{config.name}' is of planes; give "
            f"{num_latents + 1}, or model.prior.name=normal"
        )
    draw, scale = PRIORS[config.name], config.scale
    return lambda noise: scale * draw(noise, num_latents)


def _turned(x: Array, y: Array, angle: Array, num_latents: int) -> Array:
    """Points (x, y) of planes, turned by an angle, side by side: [B, Z]."""
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    plane = jnp.stack([x * cos - y * sin, x * sin + y * cos], -1)
    return plane.reshape(-1, num_latents)
