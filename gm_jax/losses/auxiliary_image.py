"""The auxiliary image y of AGAVE: the image, or a reduced version of it (thesis 3.4.5)."""

import dataclasses
import math
from typing import Any, Self

import jax
import jax.numpy as jnp

from gm_jax import distributions

Array = jax.Array
LUMA = (299, 587, 114)  # thousandths of red, green and blue (ITU-R BT.601)
DOWNSAMPLING = (1, 2, 4)


@dataclasses.dataclass(frozen=True)
class AuxiliaryImage:
    """Makes y from x, and scores it under the logistics around f(z).

    A level v of x stands for the interval [v, v + 1) of [0, L). The middle of that interval, turned
    grey and then averaged over squares, falls into one of b equal steps of [0, L): y = ⌊(mean +
    ½)·b/L⌋. This is Eq. 3.17's ⌊y/c⌋ with c = L/b if b divides L, and rounding to the nearest level
    if b = L.

    Attributes:
      image_shape, image_levels: (H, W, C) and L of x.
      downsampling: side of the squares, in pixels.
      grayscale: whether y is one channel of luma instead of three colours.
      levels: b.
    """

    image_shape: tuple[int, int, int]
    image_levels: int
    downsampling: int
    grayscale: bool
    levels: int

    @classmethod
    def create(cls, config: Any, image_shape: tuple[int, int, int], image_levels: int) -> Self:
        """Builds it from `downsampling`, `grayscale` and `levels` (0: the levels of x)."""
        side, (height, width, channels) = config.downsampling, image_shape
        levels = config.levels or image_levels
        if side not in DOWNSAMPLING:
            raise ValueError(f"auxiliary.downsampling = {side}; choose among {DOWNSAMPLING}")
        if height % side or width % side:
            raise ValueError(
                f"auxiliary.downsampling = {side} does not divide images of {height}×{width} "
                "pixels; lower it, or resize the images"
            )
        if not 2 <= levels <= image_levels:
            raise ValueError(
                f"auxiliary.levels = {levels}: give 2 to {image_levels}, the levels of the images, "
                "or 0 for those"
            )
        if config.grayscale and channels != 3:
            raise ValueError(
                f"auxiliary.grayscale for images of {channels} channel(s): they are grey already; "
                "lower auxiliary.levels instead"
            )
        return cls((height, width, channels), image_levels, side, config.grayscale, levels)

    @property
    def channels(self) -> int:
        """The number of y's channels."""
        return 1 if self.grayscale else self.image_shape[-1]

    def of(self, images: Array) -> Array:
        """Maps x, uint8 [B, H, W, C], to y, uint8 [B, H/side, W/side, channels] in 0..b−1."""
        total, side = jnp.asarray(images).astype(jnp.int32), self.downsampling
        count = side * side
        if self.grayscale:
            total = jnp.sum(total * jnp.array(LUMA), axis=-1, keepdims=True)
            count *= sum(LUMA)
        size, height, width, channels = total.shape
        squares = total.reshape(size, height // side, side, width // side, side, channels)
        # Integers below 2^31, so that no level depends on how a division is rounded.
        total = 2 * jnp.sum(squares, axis=(2, 4)) + count
        return (total * self.levels // (2 * count * self.image_levels)).astype(jnp.uint8)

    def log_prob(self, y: Array, f_z: Array, log_scale: Array) -> Array:
        """Σ_j ln p(y_j | z) in nats [B]: Eq. 3.17, where the end levels take the tails.

        Args:
          y: uint8 [B, h, w, channels] in 0..b−1.
          f_z: means [B, h, w, channels], in the units of x in [−1, 1].
          log_scale: [channels] or [1], in the same units.
        """
        # From bins centred on ±1 at L levels to b equal steps, and to bins centred on ±1 at b.
        factor = (self.image_levels - 1) * self.levels / (self.image_levels * (self.levels - 1))
        log_prob = distributions.discretized_logistic_log_prob(
            distributions.scale_to_unit(y, self.levels),
            f_z * factor,
            log_scale + math.log(factor),
            self.levels,
        )
        return jnp.sum(log_prob, (1, 2, 3))

    def upsample(self, f_z: Array) -> Array:
        """Repeats the pixels of [B, h, w, channels] to the size of x, [B, H, W, channels]."""
        return jnp.repeat(jnp.repeat(f_z, self.downsampling, 1), self.downsampling, 2)

    def picture(self, f_z: Array) -> Array:
        """f(z) as an image like x: uint8 [B, H, W, C] in 0..L−1."""
        shape = (f_z.shape[0], *self.image_shape)
        picture = jnp.broadcast_to(self.upsample(f_z), shape)
        return distributions.quantize(picture, self.image_levels)
