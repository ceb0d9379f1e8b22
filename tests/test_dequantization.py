"""Dequantised images fill their levels evenly, and round back to them."""

import jax
import numpy as np
import pytest

from gm_jax.dequantization import dequantize, requantize
from tests.support import images

KEY = jax.random.key(4)


@pytest.mark.parametrize("levels", [2, 17, 255, 256])
def test_every_dequantised_image_rounds_back(levels):
    image = images(64, shape=(16, 16, 3), levels=levels)
    x = dequantize(image, levels, KEY, np.arange(64))
    np.testing.assert_array_equal(requantize(x, levels), image)
    assert x.dtype == np.float32 and x.min() > 0 and x.max() < 1


def test_the_noise_is_uniform_and_belongs_to_the_example():
    image = images(256, levels=256)
    index = np.arange(256, dtype=np.int32)
    x = dequantize(image, 256, KEY, index)
    noise = np.sort((np.asarray(x, np.float64) * 256 - image).ravel())
    steps = (np.arange(noise.size) + 0.5) / noise.size
    assert np.abs(noise - steps).max() < 2 / np.sqrt(noise.size)  # Kolmogorov: p < 1e-3
    np.testing.assert_array_equal(dequantize(image[7:9], 256, KEY, index[7:9]), x[7:9])


def test_what_lies_outside_goes_to_the_end_levels():
    x = np.array([-0.3, 0.0, 0.24, 0.26, 1.0, 1.7], np.float32)
    np.testing.assert_array_equal(requantize(x, 4), [0, 0, 0, 1, 3, 3])
