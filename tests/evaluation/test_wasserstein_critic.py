"""The independent critic on images whose distance is known."""

import numpy as np
import pytest

from gm_jax.evaluation import independent_wasserstein_critic, wasserstein_critic
from tests.support import optimized

UPDATE = optimized(wasserstein_critic._update, static_argnums=5, donate_argnums=0)


@pytest.fixture(autouse=True)
def optimized_updates(monkeypatch):
    monkeypatch.setattr(wasserstein_critic, "_update", UPDATE)


def _noise(seed, mean):
    images = np.random.default_rng(seed).normal(mean, 10, (200, 8, 8, 1))
    return np.clip(np.round(images), 0, 255).astype(np.uint8)


def _critic(sample_mean, **options):
    sets = _noise(0, sample_mean), _noise(1, 128), _noise(2, 128)
    return independent_wasserstein_critic(*sets, batch_size=8, **options)


def test_a_shift_is_reported_negated_within_the_penalty_bias():
    """A shift by c of every image has distance c, and c + c²/(2λ) under the penalty."""
    shift = 8 * 16 / 127.5  # 64 pixels by 16 grey levels, scaled to −1..1
    result = _critic(144, num_steps=96, num_points=3)
    assert 0.9 * shift < -result.negative_distance < 1.2 * (shift + shift**2 / 20)
    np.testing.assert_array_equal(result.steps, [32, 64, 96])
    assert result.negative_distance == result.test_curve[-1]
    assert result.validation_curve[-1] < result.validation_curve[0]


def test_equal_distributions_are_near_zero():
    assert abs(_critic(128, num_steps=16, num_points=1).negative_distance) < 0.05


def test_the_seed_decides_everything():
    results = [_critic(140, num_steps=2, num_points=1, seed=seed) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(results[0].test_curve, results[1].test_curve)
    assert (results[0].test_curve != results[2].test_curve).all()


def test_each_earlier_set_is_seen_for_an_equal_share_of_the_steps():
    """The same set again changes nothing; another one stands in for it in the first half."""
    near, again = (
        _critic(140, num_steps=2, num_points=1, earlier=earlier).negative_distance
        for earlier in ([], [_noise(0, 140)])
    )
    assert again == near
    far = _critic(90, num_steps=2, num_points=2).test_curve
    moved = _critic(140, num_steps=2, num_points=2, earlier=[_noise(0, 90)]).test_curve
    assert moved[0] == far[0] and moved[1] not in (far[1], near)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": np.zeros((1, 8, 8, 1), np.uint8)}, r"samples are uint8 \[n >= 2"),
        ({"test_images": np.zeros((0, 8, 8, 1), np.uint8)}, r"test_images are uint8 \[n >= 1"),
        ({"validation_images": np.zeros((3, 8, 8, 1))}, "got float64"),
        ({"test_images": np.zeros((3, 8, 9, 1), np.uint8)}, r"\(8, 9, 1\), samples \(8, 8, 1\)"),
        ({"num_points": 11}, "num_points <= num_steps"),
        ({"penalty": 0.0}, "penalty > 0"),
        ({"earlier": [np.zeros((5, 8, 8, 1), np.uint8)]}, r"earlier .* \(5, 8, 8, 1\)"),
    ],
)
def test_bad_input_is_refused(change, message):
    names = ("samples", "validation_images", "test_images")
    arguments = {name: np.zeros((4, 8, 8, 1), np.uint8) for name in names}
    with pytest.raises(ValueError, match=message):
        independent_wasserstein_critic(**{**arguments, "num_steps": 10, "num_points": 1, **change})
