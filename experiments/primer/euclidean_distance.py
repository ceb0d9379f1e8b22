"""Pathologies of the Euclidean distance between images (T 1260–1321).

    python experiments/primer/euclidean_distance.py [--output=DIR]

A digit that is moved by one pixel is the same digit, and far from itself; another digit is often
nearer. A model with isotropic noise measures by this distance, so that one mean for several images
is their blurry average. `neighbours.png` has digits, these moved by a pixel, the nearest digit of
another class, and the mean of both.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments.primer import figures
from gm_jax import data


def moved(images: np.ndarray) -> np.ndarray:
    """Images [N, H, W, C] moved by one pixel to the right; what leaves them is lost."""
    return np.pad(images[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))


def nearest_of_another_class(
    images: np.ndarray, labels: np.ndarray, others: np.ndarray, their_labels: np.ndarray
) -> np.ndarray:
    """For each image, the number of the nearest among `others` whose label differs."""
    flat, their_flat = (np.float64(each.reshape(len(each), -1)) for each in (images, others))
    squares = (flat**2).sum(1)[:, None] - 2 * flat @ their_flat.T + (their_flat**2).sum(1)
    squares[labels[:, None] == their_labels] = np.inf
    return squares.argmin(1)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """‖a − b‖ of images [N, ...], [N], in levels."""
    return np.sqrt(((np.float64(a) - b).reshape(len(a), -1) ** 2).sum(1))


def main() -> None:
    """Compares distances and draws."""
    train, test = data.load("digits", "train"), data.load("digits", "test")
    shifted = moved(test.images)
    near = nearest_of_another_class(test.images, test.labels, train.images, train.labels)
    other = train.images[near]
    to_itself, to_other = distance(test.images, shifted), distance(test.images, other)
    print(f"mean distance of a test digit to itself, moved by a pixel: {to_itself.mean():.1f}")
    print(f"to the nearest training digit of another class: {to_other.mean():.1f}")
    print(f"another class is nearer for {np.mean(to_other < to_itself):.0%} of the digits")
    rows = [each[:16] / 8 - 1 for each in (test.images, shifted, other)]
    figures.save_images("neighbours.png", [*rows, (rows[0] + rows[2]) / 2])


if __name__ == "__main__":
    figures.run(main)
