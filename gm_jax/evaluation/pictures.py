"""Pictures of a run: what it samples, and how it reconstructs test images."""

import functools
import math
from typing import Any

import jax
import numpy as np

from gm_jax import data
from gm_jax.images import grid, spread
from gm_jax.training.run import Run

# Grids are enlarged to about this width, so that 8×8 images can be looked at.
TARGET_WIDTH = 512


def draw_samples(run: Run, variables: dict[str, Any], num_images: int) -> dict[str, np.ndarray]:
    """Draws samples in batches on all devices; sample i is the same in any batch.

    Returns:
      {name: uint8 [num_images, H, W, C]}: `image`, and the images on the way to it.
    """
    sample = run.parallel.per_example(
        functools.partial(_sample, run.method, run.config.sample.temperature)
    )
    size = run.config.sample.batch_size
    share = size // jax.process_count()
    key = jax.random.fold_in(run.key, 2)
    parts = []
    for start in range(0, num_images, size):
        first = start + jax.process_index() * share
        batch = {"index": np.arange(first, first + share, dtype=np.int32)}
        parts.append(sample(variables, batch, key))
    return {name: np.concatenate([part[name] for part in parts])[:num_images] for name in parts[0]}


def _sample(method: Any, temperature: float, variables: Any, batch: Any, key: Any) -> Any:
    index = batch["index"]
    return method.sample(variables, key, index.shape[0], temperature=temperature, index=index)


def draw_reconstructions(
    run: Run, variables: dict[str, Any], dataset: data.ImageDataset, num_images: int
) -> dict[str, np.ndarray]:
    """Reconstructs the first images of a split.

    Returns:
      {name: uint8 [num_images, H, W, C]}: `original`, the images on the way, and `image`.
    """
    size = run.config.sample.batch_size
    num_images = min(num_images, len(dataset))
    share = size // jax.process_count()
    key = jax.random.fold_in(run.key, 3)
    reconstruct = run.parallel.per_example(run.method.reconstruct)
    parts = []
    for start in range(0, num_images, size):
        first = start + jax.process_index() * share
        index = np.minimum(np.arange(first, first + share), len(dataset) - 1).astype(np.int32)
        parts.append(reconstruct(variables, {"image": dataset.images[index], "index": index}, key))
    drawn = {name: np.concatenate([part[name] for part in parts])[:num_images] for name in parts[0]}
    return {"original": np.asarray(dataset.images[:num_images]), **drawn}


def side_by_side(rows: dict[str, np.ndarray], levels: int, columns: int = 16) -> np.ndarray:
    """Lays images out so that those of one example stand under each other.

    Args:
      rows: {name: uint8 [N, H, W, C] in 0..levels−1}, in the order from top to bottom.
      levels: of a pixel.
      columns: examples a row.

    Returns:
      A picture, uint8 [H', W', C].
    """
    images = [spread(np.asarray(row), levels) for row in rows.values()]
    count, height, width = images[0].shape[:3]
    columns = min(columns, count)
    bands = math.ceil(count / columns)
    padded = [
        np.concatenate([row, np.zeros((bands * columns - count, *row.shape[1:]), np.uint8)])
        for row in images
    ]
    stacked = np.stack([row.reshape(bands, columns, *row.shape[1:]) for row in padded], axis=1)
    enlarge = max(1, TARGET_WIDTH // (columns * width))
    return grid(stacked.reshape(-1, height, width, images[0].shape[-1]), columns, enlarge=enlarge)
