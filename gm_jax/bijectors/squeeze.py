"""Space to depth: squares of 2×2 pixels become channels (Dinh et al., 2017, §3.6)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array


class Squeeze(nn.Module):
    """[B, H, W, C] to [B, H/2, W/2, 4C]; channel c of the pixel at (i, j) of its square is 4c+2i+j.

    The first half of the channels is that of the image's channels (of a grey image, the rows).
    """

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and its log-determinant, 0 [B]."""
        del train
        batch, height, width, channels = x.shape
        check_even(height, width)
        squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        y = squares.transpose(0, 1, 3, 5, 2, 4)
        return y.reshape(batch, height // 2, width // 2, 4 * channels), jnp.zeros(batch)

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y [B, H/2, W/2, 4C] to x and its log-determinant, 0 [B]."""
        batch, height, width, channels = y.shape
        squares = y.reshape(batch, height, width, channels // 4, 2, 2)
        x = squares.transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(batch, 2 * height, 2 * width, channels // 4), jnp.zeros(batch)


def check_even(height: int, width: int) -> None:
    """Refuses an image that squares of 2×2 pixels do not tile."""
    if height % 2 or width % 2:
        raise ValueError(
            f"an image of {height}×{width} pixels cannot be squeezed: squares of 2×2 must tile it; "
            "use fewer scales, or resize the images"
        )
