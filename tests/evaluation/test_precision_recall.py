"""Precision and recall of distributions: known curves, their meaning on real digits, refusals."""

import tracemalloc

import numpy as np
import pytest

from gm_jax.evaluation import (
    area_under_curve,
    f_beta,
    prd_from_histograms,
    precision_recall_distribution,
)


@pytest.fixture(scope="module")
def digits(real_data):
    """Features [8000, 49] (means of 4 x 4 pixels) and labels of MNIST."""
    archive = np.load(real_data / "mnist.npz")
    images = archive["image"][:8000].reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4))
    return images.reshape(-1, 49), archive["label"][:8000]


def _curve(samples, reference):
    return precision_recall_distribution(samples, reference, num_runs=3)


def test_equal_histograms_have_a_perfect_curve():
    precision, recall = prd_from_histograms([1, 2, 3], [10, 20, 30], 101)
    np.testing.assert_allclose(np.maximum(precision, recall), 1, atol=1e-9)
    assert area_under_curve(precision, recall) == pytest.approx(1, abs=1e-6)
    assert f_beta(precision, recall, 8) == pytest.approx(1, abs=1e-9)


def test_disjoint_histograms_have_none():
    precision, recall = prd_from_histograms([1, 0], [0, 1], 101)
    assert not precision.any() and not recall.any()
    assert area_under_curve(precision, recall) == 0
    assert f_beta(precision, recall, 1) == 0


def test_a_model_of_half_the_support_has_full_precision_and_half_recall():
    """q uniform on 2 of the 4 cells of p: precision min(λ/2, 1), recall min(1/2, 1/λ)."""
    precision, recall = prd_from_histograms([1, 1, 0, 0], [1, 1, 1, 1], 1001)
    slopes = np.tan(np.linspace(1e-10, np.pi / 2 - 1e-10, 1001))
    np.testing.assert_allclose(precision, np.minimum(slopes / 2, 1), atol=1e-9)
    np.testing.assert_allclose(recall, np.minimum(0.5, 1 / slopes), atol=1e-9)
    assert area_under_curve(precision, recall) == pytest.approx(0.5, abs=1e-6)


def test_swapping_the_histograms_swaps_precision_and_recall():
    samples, reference = np.random.default_rng(0).random((2, 9))
    precision, recall = prd_from_histograms(samples, reference, 201)
    swapped_precision, swapped_recall = prd_from_histograms(reference, samples, 201)
    # The slope λ of one is the slope 1/λ of the other: the angles run backwards.
    np.testing.assert_allclose(swapped_precision, recall[::-1], atol=1e-6)
    np.testing.assert_allclose(swapped_recall, precision[::-1], atol=1e-6)


def test_f_beta_is_the_largest_weighted_harmonic_mean():
    precision, recall = np.array([0.2, 0.5, 0.9]), np.array([0.8, 0.5, 0.0])
    assert f_beta(precision, recall, 1) == pytest.approx(0.5)
    assert f_beta(precision, recall, 8) == pytest.approx(65 * 0.2 * 0.8 / (64 * 0.2 + 0.8))


def test_two_samples_of_the_same_digits_agree(digits):
    features, _ = digits
    precision, recall = _curve(features[:2000], features[4000:6000])
    assert f_beta(precision, recall, 1) > 0.88
    assert area_under_curve(precision, recall) > 0.95


def test_dropping_classes_moves_recall_and_not_precision(digits):
    features, labels = digits
    samples = features[4000:][labels[4000:] < 3][:1000]
    precision, recall = _curve(samples, features[:1000])
    assert f_beta(precision, recall, 1 / 8) > 0.88
    assert f_beta(precision, recall, 8) < 0.75


def test_noise_moves_precision_and_not_recall(digits):
    features, _ = digits
    reference, samples = features[:2000], features[4000:6000].copy()
    samples[::2] = np.random.default_rng(0).uniform(0, 255, samples[::2].shape)
    precision, recall = _curve(samples, reference)
    assert f_beta(precision, recall, 1 / 8) < 0.6
    assert f_beta(precision, recall, 8) > 0.85


def test_swapping_the_sets_swaps_precision_and_recall(digits):
    features, labels = digits
    samples, reference = features[labels < 3][:1000], features[4000:5000]
    forward, backward = _curve(samples, reference), _curve(reference, samples)
    for beta in (1 / 8, 8):
        assert f_beta(*forward, beta) == pytest.approx(f_beta(*backward, 1 / beta), abs=0.1)
    assert f_beta(*forward, 8) < 0.75 < 0.88 < f_beta(*backward, 8)


def test_the_seed_decides_the_clusters():
    samples, reference = np.random.default_rng(1).normal(size=(2, 100, 3))
    curves = [
        precision_recall_distribution(samples, reference, num_runs=1, seed=seed)[0]
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(curves[0], curves[1])
    assert (curves[0] != curves[2]).any()


def test_fewer_distinct_rows_than_clusters_are_no_trouble():
    precision, recall = precision_recall_distribution(
        np.zeros((30, 2)), np.zeros((30, 2)), num_runs=1
    )
    assert f_beta(precision, recall, 1) == pytest.approx(1, abs=1e-6)


def test_batches_give_the_curve_of_the_whole():
    samples, reference = np.random.default_rng(2).normal(size=(2, 90, 3))
    whole = precision_recall_distribution(samples, reference, num_runs=2)
    batches = precision_recall_distribution(
        np.array_split(samples, 4), iter(np.array_split(reference, 7)), num_runs=2
    )
    np.testing.assert_array_equal(whole, batches)


def test_memory_is_flat_in_the_number_of_samples():
    """40,000 rows of 20 MB ask for two megabytes more than 2,500: 26 bytes a row of either set."""

    def peak(count):
        def batches(seed):
            generator = np.random.default_rng(seed)
            return (generator.standard_normal((500, 64)) for _ in range(count // 500))

        tracemalloc.start()
        precision_recall_distribution(batches(0), batches(1), num_runs=1)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_bytes

    peak(2500)  # imports what it needs
    assert peak(40_000) < peak(2500) + 2e6


@pytest.mark.parametrize(
    ("samples", "reference", "message"),
    [
        (np.zeros((30, 2)), np.zeros((40, 2)), "30 samples against 40"),
        (np.zeros((30, 2)), np.zeros((30, 3)), "2 and 3 dimensions"),
        (np.zeros((10, 2)), np.zeros((10, 2)), "num_clusters = 20"),
        (np.full((30, 2), np.nan), np.zeros((30, 2)), "eval_features: 30 of 30 rows"),
        (np.zeros((30, 2)), np.full((30, 2), np.inf), "reference_features: 30 of 30 rows"),
        (np.zeros((0, 2)), np.zeros((30, 2)), "0 samples against 30"),
        (iter([]), iter([]), "0 samples cannot fill"),
        (np.zeros(30), np.zeros(30), r"\[n, d\]"),
    ],
)
def test_bad_features_are_refused(samples, reference, message):
    with pytest.raises(ValueError, match=message):
        precision_recall_distribution(samples, reference)


@pytest.mark.parametrize(
    ("histograms", "message"),
    [
        (([1, 2], [1, 2, 3]), "same cells"),
        (([1, -1], [1, 1]), "eval_weights"),
        (([1, 1], [0, 0]), "reference_weights"),
        (([1, np.nan], [1, 1]), "eval_weights"),
    ],
)
def test_bad_histograms_are_refused(histograms, message):
    with pytest.raises(ValueError, match=message):
        prd_from_histograms(*histograms, 101)


def test_bad_curves_are_refused():
    with pytest.raises(ValueError, match=r"recall lies in 0..1, got 0..1.5"):
        f_beta([0.0, 1.0], [0.0, 1.5], 1)
    with pytest.raises(ValueError, match="beta is positive"):
        f_beta([1.0], [1.0], 0)
