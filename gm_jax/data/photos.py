"""32×32 crops of the colour photographs that ship with scikit-image and scikit-learn.

Whole photographs are held out, so that no crop for validation or test shows a training scene. Crops
are taken at the stored resolution: seven photographs have only about 1,500 non-overlapping crops,
and downscaling would leave a quarter of them for testing. Pictures that are not natural photographs
(retina, ihc, hubble_deep_field, color) are left out, and so is the right eye of the motorcycle,
which shows the same scene.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from gm_jax.data.fields import image_spec
from gm_jax.data.packages import package_folder
from gm_jax.data.pictures import picture_to_array
from gm_jax.data.reader import UNDECODED, Example, Reader, files_fingerprint

SIZE = 32
# file: (height, width), stated here so that the sizes of splits are known without decoding.
_PHOTOGRAPHS = {
    "train": {
        "skimage/data/astronaut.png": (512, 512),
        "skimage/data/motorcycle_left.png": (500, 741),
        "skimage/data/rocket.jpg": (427, 640),
        "sklearn/datasets/images/china.jpg": (427, 640),
        # Its colours are unlike the others': as validation it would select a poor checkpoint.
        "sklearn/datasets/images/flower.jpg": (427, 640),
    },
    "validation": {"skimage/data/coffee.png": (400, 600)},
    "test": {"skimage/data/chelsea.png": (300, 451)},
}
# Training crops overlap by half; validation and test crops do not overlap.
_STRIDES = {"train": 16, "validation": SIZE, "test": SIZE}


def _path(file: str) -> Path:
    """Returns the path of a photograph in the installed package."""
    package, _, rest = file.partition("/")
    return package_folder(package) / rest


def _corners(split: str) -> list[tuple[str, int, int]]:
    """Returns (file, top, left) of every crop of a split."""
    stride = _STRIDES[split]
    return [
        (file, top, left)
        for file, (height, width) in _PHOTOGRAPHS[split].items()
        for top in range(0, height - SIZE + 1, stride)
        for left in range(0, width - SIZE + 1, stride)
    ]


def _photograph(file: str) -> np.ndarray:
    """Returns a photograph, uint8 [H, W, 3], after checking that its size is unchanged."""
    with Image.open(_path(file)) as picture:
        image = picture_to_array(picture, file)
    for sizes in _PHOTOGRAPHS.values():
        if file in sizes and image.shape != (*sizes[file], 3):
            raise ValueError(
                f"{file} is {image.shape}, expected {(*sizes[file], 3)}: this version of the "
                "package ships another photograph; the splits need those of scikit-image 0.26 and "
                "scikit-learn 1.9"
            )
    return image


def _read(split: str, start: int, stop: int) -> Iterator[Example]:
    """Yields crops of a split, photograph by photograph in reading order."""
    current, image = "", np.empty(0)
    for file, top, left in _corners(split)[start:stop]:
        if file != current:
            current, image = file, _photograph(file)
        crop = image[top : top + SIZE, left : left + SIZE]
        yield Example({"image": crop}, f"{file} at row {top}, column {left}")


def open_photos() -> Reader:
    """Returns the reader of 32×32 RGB crops of photographs; whole photographs are held out."""
    files = [_path(file) for sizes in _PHOTOGRAPHS.values() for file in sizes]
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise ValueError(f"not in the installed packages: {', '.join(missing)}")
    split_sizes = {split: len(_corners(split)) for split in _PHOTOGRAPHS}
    # This file defines strides and splits, so they belong to the fingerprint.
    fingerprint = f"{files_fingerprint(files)} {SIZE} {_STRIDES} {_PHOTOGRAPHS}"
    return Reader(split_sizes, fingerprint, image_spec(UNDECODED, 256), _read)
