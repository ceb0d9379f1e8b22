"""Space to depth, vectors, and factoring out between scales (Dinh et al., 2017, §3.6)."""

import jax
import jax.numpy as jnp

from gm_jax.flows.coupling import Split
from gm_jax.flows.transform import Context, Likelihood, Transform

Array = jax.Array
DIAGONALS = ((0, 0), (1, 1), (0, 1), (1, 0))  # the pixels of a square


class Squeeze(Transform):
    """[B, H, W, C] to [B, H/2, W/2, 4C]; channel c of the pixel at (i, j) of its square is 4c+2i+j.

    The first half of the channels holds the first half of the image's channels (for a grey image,
    the first row of each square).
    """

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and its log-determinant, 0 [B]."""
        del context
        batch, height, width, channels = x.shape
        _check_even(height, width)
        squares = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
        y = squares.transpose(0, 1, 3, 5, 2, 4)
        return y.reshape(batch, height // 2, width // 2, 4 * channels), jnp.zeros(batch)

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, H/2, W/2, 4C] to x and its log-determinant, 0 [B]."""
        del context
        batch, height, width, channels = y.shape
        squares = y.reshape(batch, height, width, channels // 4, 2, 2)
        x = squares.transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(batch, 2 * height, 2 * width, channels // 4), jnp.zeros(batch)


class OrderedSqueeze(Transform):
    """[B, H, W, C] to [B, H/2, W/2, 4C]: the pixels of each 2×2 square, one after the other.

    All channels of the first pixel come first. The first half is thus one diagonal of each square,
    (0, 0) and (1, 1): the whole image, in all its channels, at half the density.
    """

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, H, W, C] to y and its log-determinant, 0 [B]."""
        del context
        _check_even(*x.shape[1:3])
        y = jnp.concatenate([x[:, row::2, column::2] for row, column in DIAGONALS], -1)
        return y, jnp.zeros(x.shape[0])

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, H/2, W/2, 4C] to x and its log-determinant, 0 [B]."""
        del context
        batch, height, width, channels = y.shape
        pixels = dict(zip(DIAGONALS, jnp.split(y, 4, -1), strict=True))
        squares = jnp.stack([jnp.stack([pixels[row, 0], pixels[row, 1]], 3) for row in (0, 1)], 2)
        return squares.reshape(batch, 2 * height, 2 * width, channels // 4), jnp.zeros(batch)


class Flatten(Transform):
    """[B, ...] to vectors [B, D].

    Attributes:
      shape: the shape of an example.
    """

    shape: tuple[int, ...]

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, *shape] to y [B, D] and its log-determinant, 0 [B]."""
        del context
        return x.reshape(x.shape[0], -1), jnp.zeros(x.shape[0])

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, D] to x and its log-determinant, 0 [B]."""
        del context
        return y.reshape(-1, *self.shape), jnp.zeros(y.shape[0])


class FactorOut(Transform):
    """Half of the dimensions goes on to `rest`, the other half is finished (Eqs. 13–16).

    Attributes:
      split: the dimensions that it keeps go on; those that it changes are finished.
      rest: transforms the half that goes on, such as [B, ..., C/2], and keeps its shape.
    """

    split: Split
    rest: Transform

    @property
    def likelihood(self) -> Likelihood:
        """The kind of `rest`."""
        return self.rest.likelihood

    @property
    def inverse_has_gradient(self) -> bool:
        """Whether that of `rest` has."""
        return self.rest.inverse_has_gradient

    def forward_and_log_det(self, x: Array, context: Context) -> tuple[Array, Array]:
        """Maps x [B, ..., C] to y and ln|det ∂y/∂x| in nats [B]."""
        going_on, done = self.split.halves(x)
        going_on, log_det = self.rest.forward_and_log_det(going_on, context)
        return self.split.join(going_on, done), log_det

    def inverse_and_log_det(self, y: Array, context: Context) -> tuple[Array, Array]:
        """Maps y [B, ..., C] to x and ln|det ∂x/∂y| in nats [B]."""
        going_on, done = self.split.halves(y)
        going_on, log_det = self.rest.inverse_and_log_det(going_on, context)
        return self.split.join(going_on, done), log_det


def _check_even(height: int, width: int) -> None:
    """Refuses an image that 2×2 squares do not tile."""
    if height % 2 or width % 2:
        raise ValueError(
            f"an image of {height}×{width} pixels cannot be squeezed: squares of 2×2 must tile it; "
            "use fewer scales, or resize the images"
        )
