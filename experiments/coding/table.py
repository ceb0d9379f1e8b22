"""Bits/dim of images as files: our models beside PNG, WebP, JPEG XL and xz (thesis 6.2.1).

    python experiments/coding/table.py --input=digits:test --run=runs/pixelcnn-digits

The others take each image as a file, and all as one: a mosaic, or for xz the bytes of all images;
the smaller counts. A file of ours holds all images, and does not hold the model. Every file is
decoded and compared. JPEG XL needs `pip install pillow-jxl-plugin`, and is left out without it.
"""

import importlib.util
import io
import lzma
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # runs from any folder

from experiments import program
from gm_jax import data, load
from gm_jax.coding import container
from gm_jax.images import picture_of

_RUNS = flags.DEFINE_multi_string("run", [], "Work directory of a trained run; may be repeated.")
_INPUT = flags.DEFINE_string("input", "digits:test", "SOURCE[:SPLIT] of the images.")
_OUTPUT = flags.DEFINE_string("output", "runs/coding", "Folder for the table.")
_PICTURES: dict[str, dict[str, Any]] = {  # {format of Pillow: the settings of smallest files}
    "PNG": {"optimize": True},
    "WebP": {"lossless": True, "quality": 100, "method": 6},
    "JXL": {"lossless": True, "effort": 9},
}
_LARGEST_SIDE = 16_383  # of a WebP


def as_picture(image: np.ndarray, kind: str) -> bytes:
    """An image uint8 [H, W, 1 or 3] as a file of a format of `_PICTURES`, which is read back.

    Raises:
      ValueError: what is read back is another image.
    """
    file = io.BytesIO()
    picture = picture_of(image)
    picture.save(file, kind, **_PICTURES[kind])
    again = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert(picture.mode))
    if not np.array_equal(again.reshape(image.shape), image):
        raise ValueError(f"{kind} is not lossless")
    return file.getvalue()


def mosaic(images: np.ndarray) -> np.ndarray:
    """One image of all, row by row in a square, whose rest is 0: uint8 [H', W', C]."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    filled = np.zeros((rows * columns, height, width, channels), np.uint8)
    filled[:count] = images
    tiles = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return tiles.reshape(rows * height, columns * width, channels)


def others(images: np.ndarray) -> list[dict[str, Any]]:
    """A row for every other coder: bits/dim as one file an image, and as one file."""
    kinds = [*_PICTURES]
    if importlib.util.find_spec("pillow_jxl") is None:
        kinds.remove("JXL")
    else:
        importlib.import_module("pillow_jxl")  # which makes Pillow know it
    coders: dict[str, tuple[Callable[[Any], bytes], Any]] = {
        kind: (lambda image, kind=kind: as_picture(image, kind), mosaic(images)) for kind in kinds
    }
    coders["xz"] = lambda image: lzma.compress(image.tobytes(), preset=9), images
    rows = []
    for name, (code, whole) in coders.items():
        start = time.perf_counter()
        each = 8 * sum(len(code(image)) for image in images) / images.size
        seconds = time.perf_counter() - start
        fits = name == "xz" or max(whole.shape) <= _LARGEST_SIDE
        one = 8 * len(code(whole)) / images.size if fits else math.nan
        rows.append(
            {
                "coder": name,
                "bits_per_dim": min(each, one) if fits else each,
                "a_file_each": each,
                "one_file": one,
                "encoded_per_second": len(images) / seconds,
            }
        )
    return rows


def ours(workdir: str, images: np.ndarray) -> dict[str, Any]:
    """The row of a trained run.

    Raises:
      ValueError: its method cannot be coded, the images do not fit, or they do not come back.
    """
    model = load.load(workdir)
    content = model.compress(images)  # and compiles the programs
    size = container.read(content).batch_size
    part = images[: 4 * size]
    start = time.perf_counter()
    model.compress(part, size)
    encoding = (time.perf_counter() - start) / len(part)
    start = time.perf_counter()
    again = model.decompress(content)
    decoding = (time.perf_counter() - start) / len(images)
    if not np.array_equal(again, images):
        raise ValueError(f"{workdir}: the images do not come back")
    return {
        "coder": f"{model.config.method} of {workdir}",
        "bits_per_dim": 8 * len(content) / images.size,
        "one_file": 8 * len(content) / images.size,
        "likelihood": float(model.bits_per_dim(images).mean()),
        "encoded_per_second": 1 / encoding,
        "decoded_per_second": 1 / decoding,
        "model_megabytes": 4 * model.num_parameters / 1e6,
    }


def main(_: list[str]) -> None:
    """Writes `table.csv`, and prints it as Markdown, the best first."""
    source, split = data.source_and_split(_INPUT.value)
    images = data.load(source, split).images
    if images is None:
        raise ValueError(f"--input={_INPUT.value} has no images")
    images = np.asarray(images)
    rows = others(images) + [ours(workdir, images) for workdir in _RUNS.value]
    rows.sort(key=lambda row: row["bits_per_dim"])
    program.write_csv(Path(_OUTPUT.value) / "table.csv", rows)
    print(f"{len(images)} images of {_INPUT.value}\n\n{program.markdown(rows)}", end="")


if __name__ == "__main__":
    program.run(main)
