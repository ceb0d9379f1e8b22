"""Bounds on mutual information, on cases with known information."""

import math

import numpy as np
import pytest

from gm_jax.evaluation.latent_information import information_bounds


def gaussian_channel(count, noise, seed=0):
    """ln p(x_i | z_j) of x = z + noise·ε, and the information ½ ln(1 + 1/noise²) in nats."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=count)
    x = z + noise * generator.normal(size=count)
    log_probs = -0.5 * ((x[:, None] - z) / noise) ** 2 - math.log(noise * math.sqrt(2 * math.pi))
    return log_probs, 0.5 * math.log(1 + noise**-2)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_information_of_a_gaussian_channel_lies_between_its_bounds(noise):
    """Tight where ln K is far above it; the shuffled gap is the symmetrised divergence, noise⁻²."""
    log_probs, information = gaussian_channel(2000, noise)
    bounds = information_bounds(log_probs)
    assert information - 0.1 < bounds["lower"] < bounds["upper"] < information + 0.1
    np.testing.assert_allclose(bounds["shuffled"], noise**-2, rtol=0.1)


def test_the_lower_bound_stays_below_ln_k_and_the_others_do_not():
    log_probs, information = gaussian_channel(8, 1e-3)
    bounds = information_bounds(log_probs)
    assert bounds["lower"] <= math.log(8) + 1e-12 < information < bounds["upper"]
    assert bounds["upper"] <= bounds["shuffled"]


def test_what_does_not_depend_on_its_latents_has_no_information():
    log_probs = np.repeat(np.random.default_rng(0).normal(size=(9, 1)), 9, axis=1) - 500
    for name, value in information_bounds(log_probs).items():
        assert abs(value) < 1e-9, name


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (4,)])
def test_what_is_no_table_of_pairs_is_refused(shape):
    with pytest.raises(ValueError, match=r"give \[K, K\] with K ≥ 2"):
        information_bounds(np.zeros(shape))
