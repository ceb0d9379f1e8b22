"""Parzen windows misjudge models (Theis et al., 2016; T 2189).

    python experiments/primer/parzen_windows.py [--output=DIR]

The log-likelihood of test images under Gaussians around samples was reported for GANs. It ranks
the means of k clusters above real images: nobody would take them for samples. The width is chosen
on validation images, as was usual. `centres.png` has real digits, and below them such means.
"""

import sys
from pathlib import Path

import numpy as np
from scipy.special import logsumexp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures

WIDTHS = np.geomspace(0.1, 1, 19)


def parzen(test: np.ndarray, samples: np.ndarray, width: float) -> float:
    """Mean nats of test points [N, D] under Gaussians around the samples [M, D]."""
    squares = (test**2).sum(1)[:, None] - 2 * test @ samples.T + (samples**2).sum(1)
    size = test.shape[1]
    log_norm = np.log(len(samples)) + size * np.log(width * np.sqrt(2 * np.pi))
    return float((logsumexp(-squares / (2 * width**2), 1) - log_norm).mean())


def cluster_means(x: np.ndarray, count: int, steps: int = 20, seed: int = 0) -> np.ndarray:
    """The means of `count` clusters of x [N, D], by k-means; an empty one stays where it is."""
    centres = x[np.random.default_rng(seed).permutation(len(x))[:count]]
    for _ in range(steps):
        squares = (x**2).sum(1)[:, None] - 2 * x @ centres.T + (centres**2).sum(1)
        nearest = squares.argmin(1)
        centres = np.stack(
            [x[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(count)]
        )
    return centres


def main() -> None:
    """Scores real images and means of clusters, and draws them."""
    train, validation, test = (
        np.float64(figures.digits(split).reshape(-1, 64)) / 8 - 1
        for split in ("train", "validation", "test")
    )
    count = len(train) // 4
    shuffled = train[np.random.default_rng(0).permutation(len(train))]
    sets = {"real digits": shuffled[:count], "means of clusters": cluster_means(train, count)}
    for name, samples in sets.items():
        width = max(WIDTHS, key=lambda width, samples=samples: parzen(validation, samples, width))
        nats = parzen(test, samples, width)
        print(f"{name}: {nats:.2f} nats, width {width:.2f}, {count} of them")
    few = cluster_means(train, 16)
    figures.save_images("centres.png", [each[:16].reshape(-1, 8, 8, 1) for each in (test, few)])


if __name__ == "__main__":
    figures.run(main)
