"""Latent checks on codes whose statistics are known."""

import numpy as np
import pytest

from gm_jax.evaluation import covariance_of_codes, histogram_of_means


def test_codes_from_the_prior_have_small_means_and_identity_covariance():
    codes = np.random.default_rng(0).normal(size=(20000, 30))
    counts, edges = histogram_of_means(codes)
    assert counts.sum() == 30
    assert np.abs(edges).max() < 5 / np.sqrt(20000)
    np.testing.assert_allclose(covariance_of_codes(codes), np.eye(30), atol=0.06)


def test_shifted_dimensions_stand_in_their_own_bin():
    codes = np.zeros((4, 10))
    codes[:, :3] = 2.0
    counts, edges = histogram_of_means(codes, num_bins=4)
    np.testing.assert_array_equal(counts, [0, 0, 7, 3])
    np.testing.assert_array_equal(edges, [-2, -1, 0, 1, 2])


def test_entangled_dimensions_are_seen():
    rng = np.random.default_rng(1)
    codes = rng.normal(size=(500, 1)) * np.array([1.0, -2.0])
    covariance = covariance_of_codes(codes)
    np.testing.assert_allclose(covariance / covariance[0, 0], [[1, -2], [-2, 4]], rtol=1e-12)


def test_spatial_codes_are_flattened():
    codes = np.random.default_rng(2).normal(size=(50, 2, 2, 3))
    flat = codes.reshape(50, 12)
    np.testing.assert_array_equal(covariance_of_codes(codes), covariance_of_codes(flat))
    np.testing.assert_array_equal(histogram_of_means(codes)[0], histogram_of_means(flat)[0])


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((1, 3)), r"shape \(1, 3\)"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.full((2, 3), np.inf), "2 of 2 codes"),
    ],
)
@pytest.mark.parametrize("check", [histogram_of_means, covariance_of_codes])
def test_bad_codes_are_refused(check, codes, message):
    with pytest.raises(ValueError, match=message):
        check(codes)
