"""Grey images in one random colour each, by composition with any source of grey images."""

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.colored import DRAWN, colours
from tests.data.test_idx import IMAGES, write


@pytest.fixture
def cache(tmp_path):
    return str(tmp_path / "cache")


def test_an_image_is_the_grey_one_times_its_colour(cache):
    grey, found = (data.load(n, "test", cache_dir=cache) for n in ("digits", "colored:digits"))
    assert (found.image_shape, found.levels, found.classes) == ((8, 8, 3), 17, grey.classes)
    np.testing.assert_array_equal(found.labels, grey.labels)
    colour = colours("test", len(grey))[:, None, None]
    assert np.abs(found.images - colour * grey.images).max() <= 0.5
    np.testing.assert_array_equal(found.images.max(-1), grey.images[..., 0])  # as bright as before


def test_colours_are_of_every_hue_and_of_full_brightness():
    found = colours("train", 20_000)
    assert (found.max(1) == 1).all() and found.min() >= 0
    largest = np.bincount(found.argmax(1)) / len(found)
    np.testing.assert_allclose(largest, 1 / 3, atol=0.02)
    # u₁/u₂ of two uniform numbers with u₁ ≤ u₂ is uniform, whatever the third.
    smaller = found[found[:, 2] < 1][:, 2]
    quarters = [0.25, 0.5, 0.75]
    np.testing.assert_allclose(np.quantile(smaller, quarters), quarters, atol=0.02)


def test_a_colour_depends_on_the_split_and_the_number_alone(cache):
    np.testing.assert_array_equal(colours("test", 3), colours("test", 9)[:3])
    assert (colours("test", 9) != colours("train", 9)).any(1).all()
    whole = data.load("colored:digits", "test", cache_dir=cache).images
    part = data.load("colored:digits", "test[5:9]", cache_dir=cache).images
    np.testing.assert_array_equal(part, whole[5:9])


def test_other_sources_are_coloured_by_composition(tmp_path, cache):
    folder = write(tmp_path / "set")
    found = data.load(f"colored:idx:{folder}", "train", cache_dir=cache)
    np.testing.assert_array_equal(found.images.max(-1), IMAGES["train"])
    pair = data.load("pair:colored:digits|digits", "test", cache_dir=cache)
    assert [pair.fields[name].shape[-1] for name in ("image", "image_b")] == [3, 1]
    assert data.split_names("colored:digits") == data.split_names("digits")


def test_what_is_drawn_is_recorded_with_the_data(cache):
    fingerprint = data.load("colored:digits", "test", cache_dir=cache).fingerprint()
    assert fingerprint["drawn"] == DRAWN
    grey = data.load("digits", "test", cache_dir=cache).fingerprint()
    assert fingerprint["image"] != grey["image"] and "drawn" not in grey


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("colored:photos", r"colored:photos: .* has shape \[32, 32, 3\].*give data.source=photos"),
        ("colored:points:ring", "points:ring is no source of images"),
        ("colored:digit", r"'digit' \(closest: digits\)"),
        ("colord:digits", r"\(closest: colored\)"),
        ("colored:", "the sources are .*colored:SOURCE"),
    ],
)
def test_what_cannot_be_coloured_is_refused(cache, name, message):
    with pytest.raises(ValueError, match=message):
        data.load(name, "test", cache_dir=cache)
