"""Measures the evaluation battery: features per second, the Fréchet distance, memory by samples.

    python experiments/benchmark_evaluation.py [--num_images=64] [--num_features=20000]

Inception's speed does not depend on its weights, so they are constants here and need no file.
Timings on a shared machine are noisy: compare ratios within one run.
"""

import argparse
import functools
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from gm_jax.evaluation import (
    feature_statistics,
    frechet_distance,
    inception_features,
    precision_recall_distribution,
)
from gm_jax.evaluation.inception_v3 import NUM_FEATURES, InceptionV3
from gm_jax.training.progress import working

BATCH = 32
SIDE = 299


def seconds(function: Any, *args: Any) -> float:
    """The seconds that one call takes."""
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start


def feature_rate(num_images: int) -> float:
    """Inception's images per second, resized from 32×32."""
    shapes = jax.eval_shape(
        InceptionV3().init, jax.random.key(0), np.zeros((1, SIDE, SIDE, 3), np.float32)
    )
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.01, leaf.dtype), shapes)
    extract = inception_features(variables)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, 32, 32, 3)).astype(np.uint8)
    jax.block_until_ready(extract(images))
    calls = -(-num_images // BATCH)
    return calls * BATCH / sum(seconds(extract, images) for _ in range(calls))


def batches(count: int, seed: int) -> Iterator[np.ndarray]:
    """Yields `count` standard normal features, 500 at a time."""
    generator = np.random.default_rng(seed)
    for _ in range(count // 500):
        yield generator.standard_normal((500, NUM_FEATURES), np.float32)


def peak_megabytes(function: Any, *args: Any) -> float:
    """A call's peak memory beyond what was in use before, without memory-mapped files."""
    tracemalloc.start()
    function(*args)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak_bytes / 1e6


def measure(num_images: int, many: int) -> dict[str, float]:
    """The rows of the table, with `num_images` images for Inception and `many` rows of features."""
    few = 2_500
    statistics = [feature_statistics(batches(few, seed)) for seed in range(2)]
    rows = {"frechet_distance_seconds": seconds(frechet_distance, *statistics[0], *statistics[1])}
    rows[f"statistics_{many}_seconds"] = seconds(feature_statistics, batches(many, 2))
    rows[f"prd_{few}_seconds"] = seconds(
        precision_recall_distribution, batches(few, 0), batches(few, 1)
    )
    curve = functools.partial(precision_recall_distribution, num_runs=1)
    for count in (few, many):
        rows[f"statistics_{count}_megabytes"] = peak_megabytes(
            feature_statistics, batches(count, 0)
        )
        rows[f"prd_{count}_megabytes"] = peak_megabytes(curve, batches(count, 0), batches(count, 1))
    rows["inception_images_per_second"] = feature_rate(num_images)
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--num_images", type=int, default=64, help="images for Inception")
    parser.add_argument("--num_features", type=int, default=20_000, help="rows of the larger set")
    options = parser.parse_args()
    with working("timing the evaluations"):
        rows = measure(options.num_images, options.num_features)
    for name, value in rows.items():
        print(f"| {name} | {value:.4g} |")


if __name__ == "__main__":
    main()
