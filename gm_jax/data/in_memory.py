"""Images that a caller holds in memory, checked against what a model models."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gm_jax.data.sources import ImageDataset


def checked_dataset(
    images: np.ndarray, labels: np.ndarray | None, facts: Mapping[str, Any]
) -> ImageDataset:
    """Images, and labels where there are, as a data set.

    Args:
      images: uint8 [N, H, W, C].
      labels: int [N], or None.
      facts: `image_shape`, `levels` and `num_classes` that they must have.

    Raises:
      ValueError: they are not what the model models; the message says what would be.
    """
    images, (image_shape, levels) = np.asarray(images), (facts["image_shape"], facts["levels"])
    if images.dtype != np.uint8:
        raise ValueError(f"images are {images.dtype}; give uint8 in 0..{levels - 1}")
    if images.ndim != 4 or images.shape[1:] != tuple(image_shape) or not len(images):
        shape = ", ".join(map(str, image_shape))
        raise ValueError(f"images have shape {images.shape}; give [N ≥ 1, {shape}]")
    if images.max() >= levels:
        raise ValueError(
            f"images hold the value {images.max()}; those of {levels} levels are in 0..{levels - 1}"
        )
    if labels is not None:
        labels = checked_labels(labels, len(images), facts["num_classes"])
    return ImageDataset(images, labels, levels, facts["num_classes"], "images", "in memory")


def checked_labels(labels: np.ndarray, count: int, num_classes: int | None) -> np.ndarray:
    """Labels as int32 [count], each in 0..num_classes−1.

    Raises:
      ValueError: they are not; the message says what would be.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise ValueError(
            f"labels are {labels.dtype} of shape {labels.shape}; give integers [{count}]"
        )
    classes = num_classes or 0
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"labels lie in {labels.min()}..{labels.max()}, but there are {classes} classes"
        )
    return labels.astype(np.int32)
