"""Dequantised images fill their levels evenly, and round back to them."""

import jax
import numpy as np
import pytest

from gm_jax.dequantization import dequantize, requantize
from gm_jax.nn.noise import Noise
from tests.support import images, noise_of

KEY = jax.random.key(4)


@pytest.mark.parametrize("levels", [2, 17, 255, 256])
def test_every_dequantised_image_rounds_back(levels):
    image = images(64, shape=(16, 16, 3), levels=levels)
    x = dequantize(image, levels, noise_of(KEY, 64))
    np.testing.assert_array_equal(requantize(x, levels), image)
    assert x.dtype == np.float32 and x.min() > 0 and x.max() < 1


def test_the_noise_is_uniform_and_belongs_to_the_example():
    image = images(256, levels=256)
    x = dequantize(image, 256, noise_of(KEY, 256))
    noise = np.sort((np.asarray(x, np.float64) * 256 - image).ravel())
    steps = (np.arange(noise.size) + 0.5) / noise.size
    assert np.abs(noise - steps).max() < 2 / np.sqrt(noise.size)  # Kolmogorov: p < 1e-3
    part = dequantize(image[7:9], 256, Noise(KEY, np.arange(7, 9)))
    np.testing.assert_array_equal(part, x[7:9])


def test_what_lies_outside_goes_to_the_end_levels():
    x = np.array([-0.3, 0.0, 0.24, 0.26, 1.0, 1.7], np.float32)
    np.testing.assert_array_equal(requantize(x, 4), [0, 0, 0, 1, 3, 3])
