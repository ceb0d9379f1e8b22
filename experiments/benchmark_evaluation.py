"""Measures the battery of evaluations: features a second, the Fréchet distance, memory by samples.

    python experiments/benchmark_evaluation.py [--num_images=64] [--num_features=20000]

Inception's speed does not depend on its weights: here they are constants, and no file is needed.
Timings of a shared machine are noisy: compare ratios within one run.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from gm_jax.evaluation import (
    feature_statistics,
    frechet_distance,
    inception_features,
    precision_recall_distribution,
)
from gm_jax.evaluation.inception_v3 import NUM_FEATURES, InceptionV3

BATCH = 32
SIDE = 299


def seconds(function: Any, *args: Any) -> float:
    """How long a call takes, once."""
    start = time.perf_counter()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - start


def feature_rate(num_images: int) -> float:
    """Images a second that Inception sees, resized from 32×32."""
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
    """Standard normal features, as many, 500 at once."""
    generator = np.random.default_rng(seed)
    for _ in range(count // 500):
        yield generator.standard_normal((500, NUM_FEATURES), np.float32)


def peak_megabytes() -> float:
    """Of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--num_images", type=int, default=64, help="for Inception to see")
    parser.add_argument("--num_features", type=int, default=20_000, help="rows, the larger count")
    options = parser.parse_args()
    statistics = [feature_statistics(batches(2_500, seed)) for seed in range(2)]
    few = peak_megabytes()
    rows = {"statistics_seconds": seconds(feature_statistics, batches(options.num_features, 2))}
    rows["statistics_added_megabytes"] = peak_megabytes() - few  # beyond those of 2,500
    rows["frechet_distance_seconds"] = seconds(frechet_distance, *statistics[0], *statistics[1])
    sets = [np.concatenate(list(batches(2_500, seed))) for seed in range(2)]
    rows["prd_seconds"] = seconds(precision_recall_distribution, *sets)
    rows["inception_images_per_second"] = feature_rate(options.num_images)
    for name, value in rows.items():
        print(f"| {name} | {value:.4g} |")


if __name__ == "__main__":
    main()
