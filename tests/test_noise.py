"""Noise drawn as a vector is the noise drawn in its shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gm_jax.noise import draw_flat


@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        (jax.random.normal, {}),
        (jax.random.gumbel, {}),
        (jax.random.uniform, {"minval": 0.25, "maxval": 0.5}),
        (jax.random.bits, {"dtype": jnp.uint16}),
    ],
)
def test_flat_noise_has_the_bits_of_noise_in_its_shape(sampler, options):
    key = jax.random.key(3)
    drawn = draw_flat(sampler, key, (2, 3, 5), **options)
    np.testing.assert_array_equal(drawn, sampler(key, (2, 3, 5), **options))
