"""Priors of codes: their shapes and moments, on 20,000 draws."""

import functools

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from gm_jax import code_priors
from tests.support import noise_of

NOISE = noise_of(jax.random.key(0), 20_000)


def create(name, num_latents=2, scale=1.0):
    return code_priors.create(ConfigDict({"name": name, "scale": scale}), num_latents)


@functools.cache
def drawn(name, **options):
    return np.asarray(create(name, **options)(NOISE))


@pytest.mark.parametrize("name", code_priors.PRIORS)
def test_latents_are_independent_of_the_batch_and_scale_with_the_scale(name):
    z = drawn(name, num_latents=4)
    assert z.shape == (20_000, 4) and z.dtype == np.float32
    part = create(name, 4)(NOISE.replace(index=np.arange(5, 9, dtype=np.int32)))
    np.testing.assert_array_equal(part, z[5:9])
    np.testing.assert_allclose(drawn(name, num_latents=4, scale=5.0), 5 * z, rtol=1e-6)
    assert np.abs(np.corrcoef(z.T)[:2, 2:]).max() < 0.03  # the planes are independent


def test_the_mixture_is_ten_gaussians_that_point_outwards():
    """Turned by the angle of its component, each is N((1.4, 0), diag(.5², .1²))."""
    z = drawn("mixture") @ [1, 1j]
    outer = z[np.abs(z) > 1.2]  # near the centre the components overlap
    number = np.round(np.angle(outer) / (2 * np.pi / 10)) % 10
    counts = np.bincount(number.astype(int), minlength=10)
    np.testing.assert_allclose(counts / len(outer), 0.1, atol=0.01)
    turned = outer * np.exp(-2j * np.pi / 10 * number)
    np.testing.assert_allclose(turned.imag.std(), 0.1, rtol=0.05)
    np.testing.assert_allclose(np.mean(np.abs(z) ** 2), 1.4**2 + 0.5**2 + 0.1**2, rtol=0.02)


def test_the_swiss_roll_turns_twice_and_has_equal_mass_on_equal_areas():
    """Angle = 4π·radius/3, and (radius/3)² is uniform."""
    z = drawn("swiss_roll") @ [1, 1j]
    radius = np.abs(z)
    np.testing.assert_allclose(z, radius * np.exp(4j * np.pi * radius / 3), atol=1e-3)
    deciles = np.quantile((radius / 3) ** 2, np.linspace(0.1, 0.9, 9))
    np.testing.assert_allclose(deciles, np.linspace(0.1, 0.9, 9), atol=0.015)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'torus'; choose among normal, uniform, mixture"):
        create("torus")
    with pytest.raises(
        ValueError, match=r"num_latents is 3, .* give 4, or model.prior.name=normal"
    ):
        create("swiss_roll", 3)
