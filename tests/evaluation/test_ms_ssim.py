"""MS-SSIM against two public implementations and closed forms; diversity of sets."""

import itertools

import numpy as np
import pytest

from gm_jax.evaluation import ms_ssim, sample_diversity


def _pair(seed, channels):
    """Two related images [256, 256, channels] of whole numbers in 0..255."""
    rng = np.random.RandomState(seed)  # its stream is frozen
    rows, columns = np.mgrid[:256, :256]
    base = np.stack(
        [
            127 + 80 * np.sin(rows / (9 + 3 * c)) * np.cos(columns / (17 - 4 * c))
            for c in range(channels)
        ],
        axis=-1,
    )
    a = np.clip(np.round(base + rng.uniform(-40, 40, base.shape)), 0, 255)
    b = np.clip(np.round(0.8 * base + 20 + rng.uniform(-60, 60, base.shape)), 0, 255)
    return a, b


def _noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


# Computed once with torch 2.13.0 in float64 (pytorch-msssim has a float32 window):
# pytorch_msssim.ms_ssim(a, b, data_range=255) and piq.multi_scale_ssim(a, b, data_range=255).
@pytest.mark.parametrize(
    ("seed", "channels", "pytorch_msssim_1_0_0", "piq_0_8_0"),
    [(0, 1, 0.6653627787, 0.6653615804), (1, 3, 0.6722363343, 0.6722351675)],
)
def test_public_implementations_agree_at_256_pixels(
    seed, channels, pytorch_msssim_1_0_0, piq_0_8_0
):
    value = ms_ssim(*_pair(seed, channels))
    assert value == pytest.approx(pytorch_msssim_1_0_0, abs=5e-6)
    assert value == pytest.approx(piq_0_8_0, abs=1e-9)


@pytest.mark.parametrize("size", [16, 17, 28, 32, 64, 100])
def test_constants_have_the_luminance_term_alone(size):
    a, b = np.full((2, size, size + 3, 1), [[[[50.0]]], [[[80.0]]]])
    constant = (0.01 * 255) ** 2
    luminance = (2 * 50 * 80 + constant) / (50**2 + 80**2 + constant)
    assert ms_ssim(a, b) == pytest.approx(luminance**0.1333, rel=1e-9)


@pytest.mark.parametrize("shape", [(16, 16, 1), (28, 28, 1), (45, 33, 3), (64, 64, 3)])
def test_equal_images_score_one_and_order_does_not_matter(shape):
    a, b = _noise(0, *shape), _noise(1, *shape)
    assert ms_ssim(a, a) == pytest.approx(1, abs=1e-12)
    assert ms_ssim(a, b) == pytest.approx(ms_ssim(b, a), rel=1e-12)
    assert 0 <= ms_ssim(a, b) < 0.7


def test_negative_contrast_clips_to_zero_for_each_pair_by_itself():
    image = _noise(2, 64, 64, 1)
    values = ms_ssim(np.stack([image, image]), np.stack([255 - image, image]))
    np.testing.assert_allclose(values, [0, 1], atol=1e-12)


def test_pairs_do_not_see_each_other():
    a, b = _noise(3, 30, 64, 64, 3), _noise(4, 30, 64, 64, 3)
    alone = [ms_ssim(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(ms_ssim(a, b), alone, rtol=1e-12)


def test_the_range_only_sets_the_scale():
    a, b = (image / 255 for image in _pair(0, 1))
    assert ms_ssim(a, b, data_range=1.0) == pytest.approx(0.6653615804, abs=1e-9)


def test_diversity_of_equal_images_is_zero_and_noise_is_more_diverse_than_digits(real_data):
    digits = np.load(real_data / "mnist.npz")["image"][:100, ..., None]
    assert sample_diversity(np.repeat(digits[:1], 5, axis=0), 10, 0) == pytest.approx(0, abs=1e-9)
    noisy = np.clip(digits + np.random.default_rng(0).normal(0, 60, digits.shape), 0, 255)
    diversity = sample_diversity(digits, 200, 0)
    assert 0 < diversity < sample_diversity(noisy.astype(np.uint8), 200, 0)


def test_all_pairs_are_drawn_once():
    images = _noise(5, 7, 16, 16, 1) // 2 + np.arange(7, dtype=np.uint8)[:, None, None, None] * 15
    every_pair = [ms_ssim(a, b) for a, b in itertools.combinations(images, 2)]
    assert sample_diversity(images, 21, 0) == pytest.approx(1 - np.mean(every_pair), rel=1e-12)


def test_the_seed_decides_the_pairs():
    images = _noise(6, 20, 16, 16, 1)
    assert sample_diversity(images, 10, 1) == sample_diversity(images, 10, 1)
    assert sample_diversity(images, 10, 1) != sample_diversity(images, 10, 2)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((15, 64, 1)), np.zeros((15, 64, 1)), "15 x 64 pixels"),
        (np.zeros((16, 16, 1)), np.zeros((16, 17, 1)), "one shape"),
        (np.zeros((16, 16)), np.zeros((16, 16)), "one shape"),
        (np.full((16, 16, 1), -1.0), np.zeros((16, 16, 1)), "got -1.0..-1.0"),
        (np.full((16, 16, 1), 256.0), np.zeros((16, 16, 1)), "data_range = 255"),
        (np.full((16, 16, 1), np.nan), np.zeros((16, 16, 1)), "got nan"),
    ],
)
def test_bad_pairs_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        ms_ssim(a, b)


@pytest.mark.parametrize(
    ("images", "num_pairs", "message"),
    [
        (np.zeros((1, 16, 16, 1), np.uint8), 1, "1 images make 0 pairs"),
        (np.zeros((3, 16, 16, 1), np.uint8), 4, "3 images make 3 pairs"),
        (np.zeros((3, 16, 16, 1)), 1, "uint8"),
    ],
)
def test_sets_without_enough_pairs_are_refused(images, num_pairs, message):
    with pytest.raises(ValueError, match=message):
        sample_diversity(images, num_pairs, 0)
