"""Mode coverage on mixtures with a known answer."""

import numpy as np
import pytest

from gm_jax.evaluation import mode_coverage

_ANGLES = np.arange(8) * np.pi / 4
_RING = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def _draw(modes, count, std=0.01):
    noise = np.random.default_rng(0).normal(0, std, (len(modes) * count, 2))
    return np.repeat(modes, count, axis=0) + noise


def test_the_mixture_itself_hits_every_mode_evenly():
    result = mode_coverage(_draw(_RING, 2000), _RING, 0.01)
    assert result.num_modes == 8
    # A two-dimensional Gaussian has 1 − exp(−9/2) of its mass within 3 standard deviations.
    assert result.high_quality_share == pytest.approx(1 - np.exp(-4.5), abs=0.003)
    assert result.histogram_kl < 1e-4


@pytest.mark.parametrize("hit", [1, 2, 5, 8])
def test_k_modes_of_the_ring_have_kl_log_of_their_share(hit):
    result = mode_coverage(_RING[:hit], _RING, 0.01)
    assert result.num_modes == hit
    assert result.high_quality_share == 1
    assert result.histogram_kl == pytest.approx(np.log(8 / hit), abs=1e-12)


def test_samples_between_modes_are_not_of_high_quality():
    between = np.zeros((10, 2))
    result = mode_coverage(np.concatenate([between, np.repeat(_RING, 5, axis=0)]), _RING, 0.01)
    assert result == (8, 0.8, 0.0)
    assert mode_coverage(between, _RING, 0.01) == (0, 0.0, float("inf"))


def test_unequal_weights_are_measured_in_nats():
    samples = np.repeat(_RING[:2], [3, 1], axis=0)
    expected = 0.75 * np.log(0.75 * 2) + 0.25 * np.log(0.25 * 2)
    assert mode_coverage(samples, _RING[:2], 0.01).histogram_kl == pytest.approx(expected)


@pytest.mark.parametrize(
    ("samples", "modes", "std", "message"),
    [
        (np.zeros((3, 3)), _RING, 0.1, r"\(3, 3\)"),
        (np.zeros((0, 2)), _RING, 0.1, "0 samples"),
        (np.full((3, 2), np.nan), _RING, 0.1, "NaN"),
        (np.zeros((3, 2)), _RING, 0.0, "std is positive, got 0.0"),
    ],
)
def test_bad_points_are_refused(samples, modes, std, message):
    with pytest.raises(ValueError, match=message):
        mode_coverage(samples, modes, std)
