"""Which dimensions of an image a coupling changes: 1 there, 0 where it keeps them."""

from collections.abc import Sequence

import numpy as np


def checkerboard(shape: Sequence[int], parity: int) -> np.ndarray:
    """Pixels whose row and column sum to an even (parity 0) or odd (1) number, [H, W, 1].

    Args:
      shape: ..., H, W, C.
      parity: 0 or 1.
    """
    height, width = shape[-3:-1]
    sums = np.arange(height)[:, None] + np.arange(width)
    return (sums % 2 == parity).astype(np.float32)[..., None]


def channel_half(shape: Sequence[int], half: int) -> np.ndarray:
    """The first (half 0) or second (1) half of the channels, [1, 1, C]; C is even."""
    channels = shape[-1]
    second = np.arange(channels) >= channels // 2
    return (second == half).astype(np.float32)[None, None]
