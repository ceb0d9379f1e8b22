"""The two resizes for feature networks; the choice changes FID more than most models do."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

INCEPTION_SIZE = 299


def resize(images: jax.Array, method: str, size: int = INCEPTION_SIZE) -> jax.Array:
    """Resizes images to a square as published feature extractors do.

    'tf1' is bilinear without half-pixel centres (output pixel i reads i·in/out) and without
    antialiasing, as in TensorFlow 1, and comparable with papers. 'clean' is bicubic with
    antialiasing, in float, clipped to 0..255 (Parmar et al. 2022, "clean-fid"). Both are linear in
    each axis, so two small matrices apply them on the device.

    Args:
      images: [B, H, W, C], uint8 or float in 0..255.
      method: 'tf1' or 'clean'.
      size: side of the result.

    Returns:
      float32 [B, size, size, C] in 0..255, not rounded.

    Raises:
      ValueError: unknown method, or not a batch of images.
    """
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ValueError(f"images are [B, H, W, C], got shape {images.shape}")
    rows = resize_matrix(method, images.shape[1], size)
    columns = resize_matrix(method, images.shape[2], size)
    # The default precision of accelerators would round grey levels to 8 bits of mantissa.
    precision = jax.lax.Precision.HIGHEST
    resized = jnp.einsum("ph,bhwc->bpwc", rows, images.astype(jnp.float32), precision=precision)
    resized = jnp.einsum("qw,bpwc->bpqc", columns, resized, precision=precision)
    return jnp.clip(resized, 0.0, 255.0)  # bicubic overshoots at edges


@functools.cache
def resize_matrix(method: str, old_size: int, new_size: int) -> np.ndarray:
    """Weights of the old pixels in the new ones along one axis.

    Args:
      method: 'tf1' or 'clean'.
      old_size, new_size: pixels, at least 1.

    Returns:
      float32 [new_size, old_size], whose rows sum to one.

    Raises:
      ValueError: unknown method.
    """
    if method == "tf1":
        return _legacy_bilinear(old_size, new_size)
    if method == "clean":
        return _antialiased_bicubic(old_size, new_size)
    raise ValueError(f"unknown resize {method!r}; choose 'tf1' or 'clean'")


def _legacy_bilinear(old_size: int, new_size: int) -> np.ndarray:
    positions = np.arange(new_size, dtype=np.float32) * np.float32(old_size / new_size)
    low = np.minimum(positions.astype(np.int64), old_size - 1)
    fraction = positions - low
    matrix = np.zeros((new_size, old_size), np.float32)
    rows = np.arange(new_size)
    np.add.at(matrix, (rows, low), 1 - fraction)
    np.add.at(matrix, (rows, np.minimum(low + 1, old_size - 1)), fraction)
    return matrix


def _antialiased_bicubic(old_size: int, new_size: int) -> np.ndarray:
    """Keys' cubic (a = −1/2) about half-pixel centres, widened when shrinking, as in Pillow."""
    scale = old_size / new_size
    width = max(scale, 1.0)
    centres = (np.arange(new_size) + 0.5) * scale
    pixels = np.arange(old_size)
    distance = np.abs(pixels + 0.5 - centres[:, None]) / width
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    # Pillow cuts the support at rounded pixel borders, which keeps or drops a weight at its edge.
    first = np.maximum(np.floor(centres - 2 * width + 0.5), 0)
    last = np.minimum(np.floor(centres + 2 * width + 0.5), old_size)
    weights = np.where((pixels >= first[:, None]) & (pixels < last[:, None]), weights, 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
