"""Black and white images, by composition with any source of images."""

import numpy as np
import pytest

from gm_jax import data
from tests.data.test_idx import IMAGES, write


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def test_a_pixel_is_1_where_it_is_brighter_than_half(cache):
    """Of the 17 levels of a digit, 8 is half."""
    grey, found = (data.load(n, "test", cache_dir=cache) for n in ("digits", "binary:digits"))
    assert (found.image_shape, found.levels, found.classes) == ((8, 8, 1), 2, grey.classes)
    np.testing.assert_array_equal(found.images, grey.images > 8)
    np.testing.assert_array_equal(found.labels, grey.labels)
    assert found.fingerprint()["image"] != grey.fingerprint()["image"]


def test_other_sources_are_binarised_by_composition(tmp_path, cache):
    folder = write(tmp_path / "set")
    found = data.load(f"binary:idx:{folder}", "train", cache_dir=cache)
    np.testing.assert_array_equal(found.images[..., 0], IMAGES["train"] >= 128)
    part = data.load(f"binary:idx:{folder}", "train[3:5]", cache_dir=cache)
    np.testing.assert_array_equal(part.images, found.images[3:5])
    colour = data.load("binary:photos", "test[:2]", cache_dir=cache)
    assert (colour.image_shape, colour.levels) == ((32, 32, 3), 2)
    assert data.split_names("binary:digits") == data.split_names("digits")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("binary:points:ring", "points:ring is no source of images; give binary:SOURCE"),
        ("binary:digit", r"'digit' \(closest: digits\)"),
        ("binry:digits", r"\(closest: binary\)"),
        ("binary:", "the sources are .*binary:SOURCE"),
    ],
)
def test_what_cannot_be_binarised_is_refused(cache, name, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, "test", cache_dir=cache)
