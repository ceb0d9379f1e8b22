"""What a likelihood must beat: bits/dim of simple codes on a source's test images.

    python experiments/baselines.py --source=digits

An independent histogram for each pixel, fitted to the training split; and the files of general
compressors, PNG and xz, over all images together.
"""

import io
import lzma
import sys
from pathlib import Path

import numpy as np
from absl import app, flags
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from gm_jax import command_line, data

_SOURCE = flags.DEFINE_string("source", "digits", "Image source, as data.source of a config.")
_TRAIN = flags.DEFINE_string("train_split", "train", "Split that the histograms are fitted to.")
_TEST = flags.DEFINE_string("test_split", "test", "Split that is coded.")


def histogram_bits_per_dim(train: np.ndarray, test: np.ndarray, levels: int) -> float:
    """Bits/dim of test under one histogram a pixel and channel, with add-one smoothing.

    Args:
      train: uint8 [N, H, W, C] in 0..levels−1.
      test: uint8 [M, H, W, C].
      levels: of a pixel.
    """
    train, test = train.reshape(len(train), -1), test.reshape(len(test), -1)
    counts = np.ones((train.shape[1], levels))
    for pixel in range(train.shape[1]):
        counts[pixel] += np.bincount(train[:, pixel], minlength=levels)
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    return float(bits[np.arange(test.shape[1]), test].mean())


def png_bits_per_dim(images: np.ndarray) -> float:
    """Bits/dim of one PNG file with the images below each other: a header each would drown them."""
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
    """Prints a row a code."""
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
    app.run(main)
