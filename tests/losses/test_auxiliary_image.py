"""AGAVE's auxiliary image: its values, and that its levels' probabilities sum to one."""

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from gm_jax.distributions import discretized_logistic_log_prob, scale_to_unit
from gm_jax.losses.auxiliary_image import AuxiliaryImage


def make(shape=(4, 4, 3), image_levels=256, **fields):
    config = ConfigDict({"downsampling": 1, "grayscale": False, "levels": 0, **fields})
    return AuxiliaryImage.create(config, shape, image_levels)


X = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)


def test_by_default_it_is_the_image_under_its_own_likelihood():
    auxiliary, means = make(), scale_to_unit(255 - X, 256)
    np.testing.assert_array_equal(auxiliary.of(X), X)
    log_scale = jnp.array([-2.0, -1.0, 0.0])
    expected = discretized_logistic_log_prob(scale_to_unit(X, 256), means, log_scale).sum((1, 2, 3))
    np.testing.assert_array_equal(auxiliary.log_prob(X, means, log_scale), expected)
    np.testing.assert_array_equal(auxiliary.picture(scale_to_unit(X, 256)), X)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (256, (0, 1, 127, 128, 255)),
        (32, (0, 0, 15, 16, 31)),
        (2, (0, 0, 0, 1, 1)),
        (3, (0, 0, 1, 1, 2)),
    ],
)
def test_colours_are_dealt_to_equal_steps(levels, expected):
    values = np.array([0, 1, 127, 128, 255], np.uint8).reshape(1, 1, 5, 1)
    y = make((1, 5, 1), levels=levels).of(values)
    assert tuple(y.ravel()) == expected and y.dtype == jnp.uint8


def test_every_level_of_a_divisor_has_its_share():
    y = make((16, 16, 1), levels=16).of(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1))
    np.testing.assert_array_equal(y.ravel(), np.arange(256) // 16)


@pytest.mark.parametrize("side", [2, 4])
def test_smaller_images_are_rounded_averages(side):
    y = make(downsampling=side).of(X)
    blocks = X.reshape(2, 4 // side, side, 4 // side, side, 3).astype(np.float64)
    np.testing.assert_array_equal(y, np.floor(blocks.mean((2, 4)) + 0.5))
    rounded_up = np.array([0, 0, 1, 1], np.uint8).reshape(1, 2, 2, 1)
    assert make((2, 2, 1), downsampling=2).of(rounded_up).item() == 1


def test_grey_is_luma():
    auxiliary = make((1, 4, 3), grayscale=True, levels=16)
    pixels = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 100, 200]], np.uint8)
    # 255, 76.245 and 81.5 of luma, in steps of 16.
    assert auxiliary.of(pixels.reshape(1, 1, 4, 3)).ravel().tolist() == [0, 15, 4, 5]
    assert auxiliary.channels == 1


def test_whole_numbers_do_not_overflow():
    white = np.full((1, 4, 4, 3), 255, np.uint8)
    assert make(downsampling=4, grayscale=True).of(white).item() == 255


@pytest.mark.parametrize("levels", [2, 5, 16, 17])
@pytest.mark.parametrize("log_scale", [-4.0, -1.0, 2.0])
def test_the_levels_have_probability_one(levels, log_scale):
    auxiliary = make((1, 1, 1), image_levels=17, levels=levels)
    y = jnp.arange(levels, dtype=jnp.uint8).reshape(-1, 1, 1, 1)
    for mean in (-1.0, 0.13, 0.9):
        log_prob = auxiliary.log_prob(y, jnp.full(y.shape, mean), jnp.array([log_scale]))
        np.testing.assert_allclose(np.exp(log_prob).sum(), 1, atol=1e-5)


def test_the_masses_are_those_of_equal_steps_of_the_colours():
    """Eq. 3.17 with b = 4 of 256: the logistic's mass of [64, 128), mean and scale on [0, 256)."""
    auxiliary = make((1, 1, 1), levels=4)
    mean, scale = 100.0, 20.0  # level v is the middle of [v, v + 1)
    unit_mean, unit_scale = 2 * (mean - 0.5) / 255 - 1, 2 * scale / 255
    y = jnp.full((1, 1, 1, 1), 1, jnp.uint8)
    log_prob = auxiliary.log_prob(y, jnp.full(y.shape, unit_mean), jnp.log(jnp.array([unit_scale])))
    below = [1 / (1 + np.exp(-(edge - mean) / scale)) for edge in (64, 128)]
    np.testing.assert_allclose(np.exp(log_prob), below[1] - below[0], rtol=1e-5)


def test_the_picture_has_the_size_of_the_image():
    f_z = scale_to_unit(np.array([[3, 250], [9, 128]], np.uint8).reshape(1, 2, 2, 1), 256)
    picture = np.asarray(make(downsampling=2, grayscale=True, levels=16).picture(f_z))
    assert picture.shape == (1, 4, 4, 3) and picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[0, 0, :, 2], [3, 3, 250, 250])
    np.testing.assert_array_equal(picture[0, :, 0, 0], [3, 3, 9, 9])


@pytest.mark.parametrize(
    ("shape", "fields", "match"),
    [
        ((4, 4, 3), {"levels": 1}, "levels = 1: give 2 to 256"),
        ((4, 4, 3), {"levels": 257}, "levels = 257: give 2 to 256"),
        ((6, 4, 3), {"downsampling": 4}, "4 does not divide images of 6×4"),
        ((4, 4, 3), {"downsampling": 3}, "downsampling = 3; choose among"),
        ((4, 4, 1), {"grayscale": True}, r"1 channel\(s\)"),
    ],
)
def test_what_does_not_fit_is_refused(shape, fields, match):
    with pytest.raises(ValueError, match=match):
        make(shape, **fields)
