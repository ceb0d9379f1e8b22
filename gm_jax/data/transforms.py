"""Cropping and resizing, applied to an image before it is cached."""

import numpy as np
from PIL import Image

CROPS = ("none", "center")
# Area averages are exact for integer factors, never leave the range of the averaged pixels (so
# `levels` stays valid), and are the filter of downsampled ImageNet. Enlarging repeats pixels.
FILTER = "box"


def crop_and_resize(image: np.ndarray, crop: str, resize: int) -> np.ndarray:
    """Crops to the central square and resizes to resize × resize, both if requested.

    Args:
      image: uint8 [H, W, C].
      crop: 'none' (resizing then changes the aspect ratio) or 'center'.
      resize: side of the result in pixels; 0 keeps the size.

    Returns:
      uint8 [H', W', C].
    """
    if crop == "center":
        height, width, _ = image.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[top : top + side, left : left + side]
    if resize and image.shape[:2] != (resize, resize):
        channels = (np.ascontiguousarray(image[:, :, c]) for c in range(image.shape[2]))
        size = (resize, resize)
        resized = [Image.fromarray(c).resize(size, Image.Resampling.BOX) for c in channels]
        image = np.stack([np.asarray(channel) for channel in resized], axis=-1)
    return image
