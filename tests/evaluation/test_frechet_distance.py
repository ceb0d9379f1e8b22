"""Fréchet distance against closed forms, the bias it must have, and inputs it must refuse."""

import numpy as np
import pytest

from gm_jax.evaluation import feature_statistics, frechet_distance


def _random_covariance(rng, dimensions, rank=None):
    factor = rng.normal(size=(dimensions, rank or dimensions))
    return factor @ factor.T / dimensions


def test_one_dimensional_gaussians_have_the_textbook_distance():
    distance = frechet_distance([1.0], [[4.0]], [3.0], [[9.0]])
    assert distance == pytest.approx((3 - 1) ** 2 + (3 - 2) ** 2, rel=1e-12)


def test_commuting_covariances_have_the_distance_of_their_spectra():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    spectrum_a, spectrum_b = rng.uniform(0, 3, (2, 12))
    mean = rng.normal(size=12)
    distance = frechet_distance(
        mean, axes * spectrum_a @ axes.T, np.zeros(12), axes * spectrum_b @ axes.T
    )
    expected = mean @ mean + ((spectrum_a**0.5 - spectrum_b**0.5) ** 2).sum()
    assert distance == pytest.approx(expected, rel=1e-10)


def test_a_linear_map_of_a_gaussian_has_the_optimal_transport_cost():
    """T symmetric positive is the optimal map, so d² = tr (T − I) Σ (T − I)."""
    rng = np.random.default_rng(1)
    covariance, transport = _random_covariance(rng, 20), _random_covariance(rng, 20)
    distance = frechet_distance(
        np.zeros(20), covariance, np.zeros(20), transport @ covariance @ transport
    )
    excess = transport - np.eye(20)
    assert distance == pytest.approx(np.trace(excess @ covariance @ excess), rel=1e-9)


def test_distance_is_symmetric_and_zero_only_on_the_diagonal():
    rng = np.random.default_rng(2)
    a = rng.normal(size=8), _random_covariance(rng, 8)
    b = rng.normal(size=8), _random_covariance(rng, 8)
    assert frechet_distance(*a, *b) == pytest.approx(frechet_distance(*b, *a), rel=1e-10)
    assert frechet_distance(*a, *b) > 0.1
    assert frechet_distance(*a, *a) < 1e-10


def test_fewer_samples_than_dimensions_still_give_a_finite_distance():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 10, 64))
    distance = frechet_distance(*feature_statistics(a), *feature_statistics(b))
    exact_part = ((a.mean(0) - b.mean(0)) ** 2).sum() + a.var(0, ddof=1).sum()
    assert np.isfinite(distance)
    assert 0 < distance < exact_part + b.var(0, ddof=1).sum()


def test_orthogonal_singular_covariances_add_up():
    distance = frechet_distance(
        np.zeros(3), np.diag([1.0, 0, 0]), np.zeros(3), np.diag([0, 4.0, 0])
    )
    assert distance == pytest.approx(5.0, rel=1e-12)


def both_orders(a, b):
    """The distance of two covariances, which is the same in either order."""
    zeros = np.zeros(len(a))
    first, second = frechet_distance(zeros, a, zeros, b), frechet_distance(zeros, b, zeros, a)
    assert first == pytest.approx(second, rel=1e-9, abs=1e-14 * (np.trace(a) + np.trace(b)))
    return first


SCALES = [(1.0, 1.0), (1e-12, 1e-12), (1e12, 1e12), (1e-6, 1.0), (1e3, 1e-9), (1.0, 1.0001)]


@pytest.mark.parametrize(
    "ranks", [(0, 0), (0, 1), (1, 1), (1, 9), (4, 7), (12, 0), (3, 12), (12, 12)]
)
@pytest.mark.parametrize("scales", SCALES)
def test_spectra_on_common_axes_of_any_ranks_and_scales(ranks, scales):
    """Σ (√a_i − √b_i)², whichever of the a_i and b_i are exactly zero."""
    rng = np.random.default_rng(ranks)
    for _ in range(5):
        axes = np.linalg.qr(rng.normal(size=(12, 12)))[0]
        spectra = np.zeros((2, 12))
        for spectrum, rank, scale in zip(spectra, ranks, scales, strict=True):
            spectrum[rng.permutation(12)[:rank]] = scale * rng.uniform(0.01, 1, rank)
        a, b = (axes * spectrum @ axes.T for spectrum in spectra)
        expected = ((spectra[0] ** 0.5 - spectra[1] ** 0.5) ** 2).sum()
        assert both_orders(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("size", [2, 40, 300])
@pytest.mark.parametrize("scales", SCALES)
def test_disjoint_ranges_zero_and_one_direction(size, scales):
    """Σ_a = uuᵀ: |u|² + tr Σ_b − 2 √(uᵀ Σ_b u)."""
    rng = np.random.default_rng(size)
    axes = np.linalg.qr(rng.normal(size=(size, size)))[0] * np.sqrt(rng.uniform(0.5, 2, size))
    half = size // 2
    a = scales[0] * axes[:, :half] @ axes[:, :half].T
    b = scales[1] * axes[:, half:] @ axes[:, half:].T
    assert both_orders(a, b) == pytest.approx(np.trace(a) + np.trace(b), rel=1e-6)
    assert both_orders(a, 0 * b) == pytest.approx(np.trace(a), rel=1e-6)
    direction = rng.normal(size=size)
    rank_one = scales[0] * np.outer(direction, direction)
    cross = np.sqrt(scales[0] * direction @ b @ direction)
    expected = np.trace(rank_one) + np.trace(b) - 2 * cross
    assert both_orders(rank_one, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rank", [1, 5, 24])
def test_nearly_equal_covariances_are_told_apart(rank):
    """Σ and (1 + δ)² Σ are δ² tr Σ apart; subtracting traces would leave their rounding."""
    covariance = _random_covariance(np.random.default_rng(rank), 24, rank)
    for delta in (1e-2, 1e-5, 1e-7):
        expected = delta**2 * np.trace(covariance)
        assert both_orders((1 + delta) ** 2 * covariance, covariance) == pytest.approx(
            expected, rel=1e-5
        )
    assert both_orders(covariance, covariance) < 1e-14 * np.trace(covariance)


def test_features_of_a_few_directions_have_the_distance_of_their_directions():
    rng = np.random.default_rng(7)
    few = [rng.normal(size=(500, 4)) * scale for scale in (1.0, 3.0)]
    axes = np.linalg.qr(rng.normal(size=(200, 200)))[0][:, :4]
    lifted = [feature_statistics(x @ axes.T) for x in few]
    expected = frechet_distance(*feature_statistics(few[0]), *feature_statistics(few[1]))
    assert frechet_distance(*lifted[0], *lifted[1]) == pytest.approx(expected, rel=1e-6)


def test_streamed_statistics_equal_those_of_the_whole_whatever_the_batches():
    features = np.random.default_rng(4).normal(size=(1000, 6)).astype(np.float32) * 3
    mean, covariance = feature_statistics(features)
    streamed = feature_statistics(iter(np.split(features, [1, 17, 600])))
    np.testing.assert_allclose(covariance, np.cov(features.T.astype(np.float64)), rtol=1e-12)
    np.testing.assert_allclose(streamed[0], mean, rtol=1e-12)
    np.testing.assert_allclose(streamed[1], covariance, rtol=1e-10, atol=1e-12)


def test_a_large_offset_does_not_cancel():
    features = np.random.default_rng(5).normal(size=(512, 3))
    mean, covariance = feature_statistics(iter(np.split(features + 1e7, 8)))
    np.testing.assert_allclose(mean - 1e7, features.mean(0), atol=1e-8)
    np.testing.assert_allclose(covariance, np.cov(features.T), rtol=1e-6, atol=1e-7)


def test_gaussian_bias_is_the_second_order_prediction():
    """E d² = (2/n) (tr Σ + ½ Σ_ij (λ_i λ_j + δ_ij λ_i²) / (λ_i + λ_j)) for equal distributions."""
    rng = np.random.default_rng(6)
    variances, count = np.linspace(0.2, 2, 30), 2000
    a, b = rng.normal(size=(2, count, 30)) * variances**0.5
    distance = frechet_distance(*feature_statistics(a), *feature_statistics(b))
    pairs = np.outer(variances, variances) + np.diag(variances**2)
    covariance_part = 0.5 * (pairs / np.add.outer(variances, variances)).sum()
    assert distance == pytest.approx(2 / count * (variances.sum() + covariance_part), rel=0.15)


def test_real_against_real_shrinks_with_the_number_of_images(real_data):
    digits = np.load(real_data / "mnist.npz")["image"][:8000]
    features = digits.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49) / 255
    few = [feature_statistics(part) for part in (features[:500], features[4000:4500])]
    many = [feature_statistics(part) for part in (features[:4000], features[4000:])]
    zeros = feature_statistics(features[:4000][::-1] * 0.5)
    bias_few, bias_many = frechet_distance(*few[0], *few[1]), frechet_distance(*many[0], *many[1])
    assert 4 < bias_few / bias_many < 16  # 1/n predicts 8
    assert bias_many < 0.02 * frechet_distance(*many[0], *zeros)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((1, 3)), "at least 2 samples"),
        (np.zeros((0, 3)), "at least 2 samples"),
        ([], "at least 2 samples"),
        (np.zeros((4, 2, 2)), r"\[n, d\]"),
        (np.array([[0.0, np.nan], [1, 1]]), "features: 1 of 2 rows"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "4 features after batches of 3"),
    ],
)
def test_bad_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        feature_statistics(features)


@pytest.mark.parametrize(
    ("gaussian", "message"),
    [
        (([0.0, 0], np.eye(3)), "covariance_b"),
        (([0.0, 0], np.eye(2)), "3 and 2 dimensions"),
        (([0.0, np.nan, 0], np.eye(3)), "NaN"),
        (([0.0, 0, 0], np.diag([1.0, 1, -1])), "positive semi-definite"),
        (([0.0, 0, 0], np.eye(3) + np.eye(3, k=1)), "not symmetric"),
    ],
)
def test_what_is_no_gaussian_is_refused(gaussian, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(np.zeros(3), np.eye(3), *gaussian)
