"""Baselines for likelihoods: bits/dim of simple codes on a source's test images.

    python experiments/baselines.py --source=digits

The codes are an independent histogram for each pixel, fitted to the training split, and general
compressors, PNG and xz, applied to all images together.
"""

import io
import lzma
import sys
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from gm_jax import command_line, data

_SOURCE = flags.DEFINE_string("source", "digits", "Image source, like a config's data.source.")
_TRAIN = flags.DEFINE_string("train_split", "train", "Split to which the histograms are fitted.")
_TEST = flags.DEFINE_string("test_split", "test", "Split that is coded.")


def histogram_bits_per_dim(train: np.ndarray, test: np.ndarray, levels: int) -> float:
    """Bits/dim of test with a histogram per pixel and channel, with add-one smoothing.

    Args:
      train: uint8 [N, H, W, C] in 0..levels−1.
      test: uint8 [M, H, W, C].
      levels: number of levels of a pixel.
    """
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    counts = np.ones((train.shape[1], levels))
    for pixel in range(train.shape[1]):
        counts[pixel] += np.bincount(train[:, pixel], minlength=levels)
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    return float(bits[np.arange(test.shape[1]), test].mean())


def png_bits_per_dim(images: np.ndarray) -> float:
    """Bits/dim of one PNG with all images stacked; a header per image would dominate."""
    stacked = images.reshape(-1, *images.shape[2:])
    file = io.BytesIO()
    picture = Image.fromarray(stacked.squeeze(-1) if stacked.shape[-1] == 1 else stacked)
    picture.save(file, "PNG", optimize=True)
    return 8 * file.tell() / images.size


def xz_bits_per_dim(images: np.ndarray) -> float:
    """Bits/dim of all images in one xz stream."""
    compressed = lzma.compress(images.tobytes(), preset=9 | lzma.PRESET_EXTREME)
    return 8 * len(compressed) / images.size


def main(_: list[str]) -> None:
    """Prints a row per code."""
    with command_line.refusals():
        train, test = (data.load(_SOURCE.value, split.value) for split in (_TRAIN, _TEST))
    images = np.asarray(test.images)
    rows = {
        "histogram a pixel": histogram_bits_per_dim(np.asarray(train.images), images, test.levels),
        "PNG": png_bits_per_dim(images),
        "xz": xz_bits_per_dim(images),
    }
    for name, bits in rows.items():
        print(f"| {name} | {bits:.3f} bits/dim |")


if __name__ == "__main__":
    command_line.run(main)
