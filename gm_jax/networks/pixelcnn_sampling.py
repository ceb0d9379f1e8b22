"""Ancestral sampling of an autoregressive image network, and the fixed-point sampler."""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp

from gm_jax.choices import Choose
from gm_jax.networks.local_pixelcnn import LocalPixelCNN
from gm_jax.networks.pixel_distributions import DiscreteDistribution, Drawn
from gm_jax.networks.pixelcnn import PixelCNN
from gm_jax.networks.pixelcnn_cache import sample_with_cache
from gm_jax.nn.noise import Noise

Array = jax.Array
SAMPLERS = ("cached", "fixed_point")  # both give the ancestral sample that the noise determines


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Draws images from a PixelCNN.

    Attributes:
      name: one of SAMPLERS; `fixed_point` compiles faster, `cached` samples faster.
      network: the network to sample from.
      image_shape: (H, W, C).
      pixels: the distribution whose parameters the network gives.
    """

    name: str
    network: PixelCNN
    image_shape: tuple[int, int, int]
    pixels: DiscreteDistribution

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise ValueError(f"sample.sampler is '{self.name}'; choose among {SAMPLERS}")
        if self.name == "cached" and isinstance(self.network, LocalPixelCNN):
            raise ValueError(
                "sample.sampler is 'cached', for a PixelCNN that sees a window alone; set it to "
                "fixed_point"
            )

    def __call__(
        self,
        variables: dict[str, Any],
        conditions: list[tuple[Array, ...]] | None,
        noise: Noise,
        temperature: float,
    ) -> Array:
        """Returns images float32 [B, H, W, C], as the network takes them.

        Args:
          variables: the network's variables.
          conditions: the network's conditions, or None.
          noise: draws the pixels.
          temperature: that of `pixels.draw`.
        """
        drawn = self.pixels.noise(noise, self.image_shape)

        def draw(parameters: Array, drawn: Drawn) -> Array:
            return self.pixels.draw(parameters, drawn, temperature)

        if self.name == "cached":
            return sample_with_cache(
                self.network, variables, conditions, draw, drawn, self.image_shape
            )
        return sample_by_fixed_point(
            lambda x: cast(Array, self.network.apply(variables, x, noise.index, conditions)),
            draw,
            drawn,
            self.image_shape,
        )

    def chosen(
        self,
        variables: dict[str, Any],
        conditions: list[tuple[Array, ...]] | None,
        given: Array,
        choose: Choose,
    ) -> Array:
        """Returns the images whose values `choose` chooses, pixel by pixel in raster order.

        It is `cached` whatever its name: every pixel is chosen once.

        Args:
          variables, conditions: as for a call.
          given: int32 [B, H, W, ...], what the pixels' `chosen` takes.
          choose: chooses the values of one pixel of each image at a time.
        """
        return sample_with_cache(
            self.network,
            variables,
            conditions,
            lambda parameters, drawn: self.pixels.chosen(parameters, drawn[0], choose),
            (given,),
            self.image_shape,
        )


def sample_by_fixed_point(
    parameters_of: Callable[[Array], Array],
    draw: Callable[[Array, Drawn], Array],
    noise: Drawn,
    image_shape: tuple[int, int, int],
) -> Array:
    """Returns the ancestral sample that the noise determines (Jacobi iteration; Song et al., 2021).

    With the noise fixed, every pixel is a function of those before it, and the image is the only
    fixed point of drawing all pixels at once. After n rounds the first n pixels are final, so at
    most H·W rounds reach it, and usually far fewer. The number of rounds is still limited: if later
    pixels change the last bit of an earlier pixel's sum, rounding could go on forever.

    Args:
      parameters_of: maps images float32 [B, H, W, C] to the parameters of their pixels,
        autoregressively.
      draw: maps parameters and noise to pixels, each by itself.
      noise: arrays [B, H, W, ...].
      image_shape: (H, W, C).

    Returns:
      Images float32 [B, H, W, C].
    """
    height, width, _ = image_shape

    def draw_all(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, rounds = carry
        drawn = draw(parameters_of(x), noise)
        return drawn, jnp.any(drawn != x), rounds + 1

    def unfinished(carry: tuple[Array, Array, Array]) -> Array:
        _, changed, rounds = carry
        return changed & (rounds < height * width)

    start = (jnp.zeros((noise[0].shape[0], *image_shape)), jnp.array(True), jnp.array(0))
    return jax.lax.while_loop(unfinished, draw_all, start)[0]
