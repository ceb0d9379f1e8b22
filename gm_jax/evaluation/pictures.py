"""Pictures of a run: its samples and its reconstructions of test images."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from gm_jax import data, ranges
from gm_jax.evaluation.batches import over_images, put_together
from gm_jax.evaluation.scatter import COLOURS, scatter_row
from gm_jax.images import grid, spread
from gm_jax.nn.noise import keyed
from gm_jax.training.progress import progress
from gm_jax.training.run import Run

# Grids are enlarged to about this width, to make 8×8 images visible.
TARGET_WIDTH = 1024
MOST_IN_GRID = 256
MOST_POINTS = 4096


def draw_samples(
    run: Run,
    variables: dict[str, Any],
    num_images: int,
    temperature: float,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draws samples in batches on all devices, with the arguments of `sample_batches`.

    Returns:
      {name: uint8 [num_images, H, W, C]}: `image`, and intermediate images.
    """
    batches = sample_batches(run, variables, num_images, temperature, labels, seed)
    return put_together(list(batches), num_images)


def sample_batches(
    run: Run,
    variables: dict[str, Any],
    num_images: int,
    temperature: float,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields batches of samples, `num_images` in total; sample i is the same in any batch.

    Args:
      run: a run whose method has `sample`.
      variables: from `state.evaluation_variables`.
      num_images: number of images, at least 1.
      temperature: temperature for the method's `sample`, at least 0; compiled into the program.
      labels: int32 [num_images]; None takes `class_labels`.
      seed: seeds the samples.

    Raises:
      ValueError: a number is out of range.
    """
    if num_images < 1:
        raise ValueError(f"{num_images} samples asked for; give 1 or more")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature is {temperature}; give 0 or more (1: the model itself)")
    sample = run.program(
        f"sample at temperature {temperature}",
        functools.partial(_sample, run.method, temperature),
    )
    labels = class_labels(run, num_images) if labels is None else labels
    key = jax.random.fold_in(run.keys["sample"], ranges.checked_seed(seed))
    size = run.config.sample.batch_size
    share = size // jax.process_count()
    with progress("samples", num_images, " images") as bar:
        for start in range(0, num_images, size):
            first = start + jax.process_index() * share
            batch = {"index": np.arange(first, first + share, dtype=np.int32)}
            if labels is not None:
                batch["label"] = labels[np.minimum(batch["index"], num_images - 1)]
            drawn = sample(variables, batch, key)
            yield {name: images[: num_images - start] for name, images in drawn.items()}
            bar.update(min(size, num_images - start))


def class_labels(run: Run, num_images: int) -> np.ndarray | None:
    """The classes in turn, int32 [num_images]; None if the method is not class-conditional."""
    num_classes = run.train_data.num_classes
    if num_classes is None or not run.method.class_conditional:
        return None
    return np.arange(num_images, dtype=np.int32) % num_classes


def _sample(method: Any, temperature: float, variables: Any, batch: Any, key: Any) -> Any:
    index, labels = batch["index"], batch.get("label")
    return method.sample(
        variables, key, index.shape[0], labels=labels, temperature=temperature, index=index
    )


def draw_reconstructions(
    run: Run,
    variables: dict[str, Any],
    dataset: data.Dataset,
    num_draws: int,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Reconstructs every image of a data set `num_draws` times; image i's position keys its noise.

    Returns:
      {name: uint8 [N, H, W, C]}: intermediate images, `image`, and further draws `image_2`, …
    """
    reconstruct = run.program(
        f"reconstruct {num_draws} times",
        keyed(functools.partial(run.method.reconstruct, num_draws=num_draws)),
    )
    key = jax.random.fold_in(run.keys["reconstruct"], ranges.checked_seed(seed))
    return over_images(
        dataset,
        lambda batch: reconstruct(variables, batch, key),
        run.config.sample.batch_size,
        "reconstructions",
    )


def pictured(rows: dict[str, np.ndarray], dataset: data.Dataset) -> np.ndarray:
    """Draws a picture of a model's output: its first images stacked, or its points scattered.

    Args:
      rows: {name: uint8 [N, H, W, C]}, or {name: float32 [N, 2]}.
      dataset: the model's data; its first points are drawn beside the model's.
    """
    if "image" in dataset.fields:
        first = {name: images[:MOST_IN_GRID] for name, images in rows.items()}
        levels = dataset.fields["image"].levels
        assert levels is not None  # images have levels
        return side_by_side(first, levels)
    points = dataset.arrays["point"][:MOST_POINTS]
    return scatter_row(points, *[*rows.values()][: len(COLOURS) - 1])


def side_by_side(rows: dict[str, np.ndarray], levels: int, columns: int = 16) -> np.ndarray:
    """Lays out images so that those of one example are stacked vertically.

    Args:
      rows: {name: uint8 [N, H, W, C] in 0..levels−1}, from top to bottom.
      levels: number of levels of a pixel.
      columns: examples per row.

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
