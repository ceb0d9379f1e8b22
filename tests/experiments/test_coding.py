"""The table of files: what the other coders are given is all of the images."""

import numpy as np
import pytest

from experiments.coding import table
from tests.support import images


def test_a_mosaic_holds_every_image():
    batch = images(7, shape=(2, 3, 3))
    whole = table.mosaic(batch)
    assert whole.shape == (3 * 2, 3 * 3, 3)
    for number, image in enumerate(batch):
        row, column = divmod(number, 3)
        np.testing.assert_array_equal(
            whole[2 * row : 2 * row + 2, 3 * column : 3 * column + 3], image
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_better_way_of_a_coder_counts(channels):
    """Small images are smaller together; noise takes at least its entropy, in any format."""
    batch = images(12, shape=(8, 8, channels), levels=256)
    rows = {row["coder"]: row for row in table.others(batch)}
    assert rows.keys() >= {"PNG", "WebP", "xz"}
    for row in rows.values():
        assert 7.9 < row["bits_per_dim"] == row["one_file"] < row["a_file_each"]


def test_a_picture_of_one_value_is_a_small_file():
    image = np.full((32, 32, 1), 7, np.uint8)
    assert max(len(table.as_picture(image, kind)) for kind in ("PNG", "WebP")) < 100
