"""Pictures of a run: what it samples, and how it reconstructs test images."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from gm_jax import data
from gm_jax.images import grid, spread
from gm_jax.training.run import Run

# Grids are enlarged to about this width, so that 8×8 images can be looked at.
TARGET_WIDTH = 1024


def draw_samples(run: Run, variables: dict[str, Any], num_images: int) -> dict[str, np.ndarray]:
    """Draws samples in batches on all devices; sample i is the same in any batch.

    Returns:
      {name: uint8 [num_images, H, W, C]}: `image`, and the images on the way to it.
    """
    parts = list(sample_batches(run, variables, num_images, run.keys["sample"]))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def sample_batches(
    run: Run,
    variables: dict[str, Any],
    num_images: int,
    key: jax.Array,
    num_classes: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields samples batch by batch, `num_images` in all; sample i is the same in any batch.

    Args:
      run: whose method has `sample`.
      variables: of `state.evaluation_variables`.
      num_images: how many.
      key: of all of them.
      num_classes: sample i is of class i mod num_classes; None gives the method no labels.
    """
    sample = run.program(
        f"sample, labels: {num_classes is not None}",
        functools.partial(_sample, run.method, run.config.sample.temperature),
    )
    size = run.config.sample.batch_size
    share = size // jax.process_count()
    for start in range(0, num_images, size):
        first = start + jax.process_index() * share
        batch = {"index": np.arange(first, first + share, dtype=np.int32)}
        if num_classes is not None:
            batch["label"] = batch["index"] % num_classes
        drawn = sample(variables, batch, key)
        yield {name: images[: num_images - start] for name, images in drawn.items()}


def _sample(method: Any, temperature: float, variables: Any, batch: Any, key: Any) -> Any:
    index, labels = batch["index"], batch.get("label")
    return method.sample(
        variables, key, index.shape[0], labels=labels, temperature=temperature, index=index
    )


def draw_reconstructions(
    run: Run, variables: dict[str, Any], dataset: data.ImageDataset, num_images: int
) -> dict[str, np.ndarray]:
    """Reconstructs the first images of a split, `evaluate.reconstruction_draws` times each.

    Returns:
      {name: uint8 [num_images, H, W, C]}: `original`, the images on the way, `image`, and further
      draws `image_2`, …
    """
    size = run.config.sample.batch_size
    num_images = min(num_images, len(dataset))
    share = size // jax.process_count()
    key = run.keys["reconstruct"]
    draws = run.config.evaluate.reconstruction_draws
    reconstruct = run.program(
        "reconstruct", functools.partial(run.method.reconstruct, num_draws=draws)
    )
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
