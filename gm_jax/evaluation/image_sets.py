"""Sets of images as metrics take them: their pixels in 0..255, random rows, their identity."""

import hashlib
from typing import Any

import numpy as np

from gm_jax import data
from gm_jax.data.fields import label_field
from gm_jax.images import spread


def subset(count: int, wanted: int, seed: int) -> np.ndarray:
    """Row numbers of a random subset, ascending; determined by the arguments."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:wanted])


def spread_images(dataset: data.Dataset) -> np.ndarray:
    """The images of a data set, uint8 [N, H, W, C] in 0..255."""
    assert dataset.levels is not None  # images have levels
    return spread(np.asarray(dataset.images), dataset.levels)


def load_given(name: str, cache_dir: str) -> data.Dataset:
    """Loads images to judge, folder:PATH or npz:PATH, which hold one split.

    Raises:
      ValueError: several splits, or no images.
    """
    splits = data.split_names(name)
    splits = ["all"] if "all" in splits else splits
    if len(splits) > 1:
        raise ValueError(
            f"--samples={name} holds the splits {', '.join(splits)}: give a folder "
            "with the images of one split only, or an npz without splits"
        )
    return data.load(name, splits[0], cache_dir=cache_dir)


def identity_of(dataset: data.Dataset) -> dict[str, Any]:
    """Source, split, number and hash of images (the hash includes the labels)."""
    images, labels = dataset.images, dataset.labels
    assert images is not None  # metrics judge only images
    digest = hashlib.sha256(str((dataset.levels, images.shape)).encode())
    for start in range(0, len(dataset), 4096):
        digest.update(np.ascontiguousarray(images[start : start + 4096]).data)
    if labels is not None:
        digest.update(np.ascontiguousarray(labels).data)
        # Classes named by number need no names here, so older records stay valid.
        if dataset.classes != label_field(dataset.num_classes or 0).classes:
            digest.update(repr(dataset.classes).encode())
    return {
        "source": dataset.name,
        "split": dataset.split,
        "num_images": len(dataset),
        "sha256": digest.hexdigest()[:16],
    }
