"""The 1,797 handwritten digits that ship with scikit-learn: 8×8, 17 grey levels."""

from collections.abc import Iterator

import numpy as np

from gm_jax.data.packages import package_folder
from gm_jax.data.reader import Example, Reader, files_fingerprint

LEVELS = 17
SPLIT_SIZES = {"train": 1437, "validation": 180, "test": 180}
# The file is ordered by writer: a fixed shuffle gives every split every writer.
_SHUFFLE_SEED = 0


def _read(split: str, start: int, stop: int) -> Iterator[Example]:
    """Yields digits of a split; scikit-learn is imported only where digits are decoded."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # RandomState's streams are frozen for every version of NumPy; those of Generator are not.
    order = np.random.RandomState(_SHUFFLE_SEED).permutation(len(data.target))
    names = list(SPLIT_SIZES)
    offset = sum(SPLIT_SIZES[name] for name in names[: names.index(split)])
    for row in order[offset + start : offset + stop]:
        image = data.images[row].astype(np.uint8)[:, :, None]
        yield Example(image, int(data.target[row]), f"digit {row}")


def open_digits() -> Reader:
    """Returns the reader of scikit-learn's digits: 1437 train, 180 validation, 180 test."""
    file = package_folder("sklearn") / "datasets" / "data" / "digits.csv.gz"
    classes = tuple(str(digit) for digit in range(10))
    fingerprint = f"{files_fingerprint([file])} RandomState({_SHUFFLE_SEED})"
    return Reader(dict(SPLIT_SIZES), fingerprint, LEVELS, classes, _read)
