"""Space to depth by diagonals, before half of the dimensions is factored out."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gm_jax.bijectors.squeeze import check_even

Array = jax.Array
ORDER = ((0, 0), (1, 1), (0, 1), (1, 0))  # of the pixels of a square


class OrderedSqueeze(nn.Module):
    """[B, H, W, C] to [B, H/2, W/2, 4C]: the pixels of each 2×2 square one after the other.

    All channels of the first pixel come first. The first half is thus one diagonal of each square,
    (0, 0) and (1, 1): every part of the image, in all its channels, at half its density.
    """

    def forward_and_log_det(self, x: Array, train: bool) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and its log-determinant, 0 [B]."""
        del train
        check_even(*x.shape[1:3])
        y = jnp.concatenate([x[:, row::2, column::2] for row, column in ORDER], -1)
        return y, jnp.zeros(x.shape[0])

    def inverse_and_log_det(self, y: Array) -> tuple[Array, Array]:
        """Maps y [B, H/2, W/2, 4C] to x and its log-determinant, 0 [B]."""
        batch, height, width, channels = y.shape
        pixels = dict(zip(ORDER, jnp.split(y, 4, -1), strict=True))
        squares = jnp.stack([jnp.stack([pixels[row, 0], pixels[row, 1]], 3) for row in (0, 1)], 2)
        return squares.reshape(batch, 2 * height, 2 * width, channels // 4), jnp.zeros(batch)
