"""The kernel distance: its closed form for a cubic kernel, its lack of bias, its subsets."""

import tracemalloc

import numpy as np
import pytest

from gm_jax.evaluation import kernel_distance, squared_mmd


def test_two_points_a_set_have_the_value_of_the_formula():
    """k(1, 2) = (2 + 1)³, k(0, −1) = 1; between the sets 1, 0, 1, (−2 + 1)³."""
    x, y = np.array([[1.0], [2.0]]), np.array([[0.0], [-1.0]])
    assert squared_mmd(x, y) == pytest.approx(27 + 1 - 2 * (1 + 0 + 1 - 1) / 4)


def test_a_kernel_is_the_product_of_all_monomials_to_the_third_degree():
    """(ab + 1)³ = Σ binom(3, p) aᵖ bᵖ: the distance of means of aᵖ, less what makes it unbiased."""
    x, y = np.random.default_rng(0).normal(size=(2, 300, 1))
    expected = 0.0
    for power, weight in enumerate((1, 3, 3, 1)):
        a, b = x**power, y**power
        within = sum((z.sum() ** 2 - (z**2).sum()) / (300 * 299) for z in (a, b))
        expected += weight * (within - 2 * a.mean() * b.mean())
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-9)


def test_sets_of_one_distribution_are_zero_apart_on_average():
    """Whatever the number: a Fréchet distance of four rows would be far from it."""
    random = np.random.default_rng(1)
    values = [squared_mmd(*random.normal(size=(2, 4, 3))) for _ in range(2_000)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0


def test_a_shift_of_the_mean_is_found():
    """E k(a, b) = E (ab + 1)³ of unit Gaussians at 0 is 4; at 0 and μ it is 4 + 3 μ²."""
    x, y = np.random.default_rng(2).normal(size=(2, 3_000, 1))
    at_mu = 1 + 3 * 2**2 + 3 * (1 + 2**2) ** 2 + (2**3 + 3 * 2) ** 2  # μ = 2 within its own set
    expected = 4 + at_mu - 2 * (4 + 3 * 2**2)
    assert squared_mmd(x, y + 2) == pytest.approx(expected, rel=0.1)


def test_blocks_give_the_value_of_the_whole_matrix():
    """1,100 and 1,030 rows take two blocks each."""
    x, y = np.random.default_rng(3).normal(size=(2, 1_100, 5))
    both = np.concatenate([x, y[:1_030]])
    kernel = (both @ both.T / 5 + 1) ** 3
    np.fill_diagonal(kernel, 0)
    parts = kernel[:1_100, :1_100], kernel[1_100:, 1_100:], kernel[:1_100, 1_100:]
    within_x, within_y, between = (part.sum() for part in parts)
    expected = within_x / (1_100 * 1_099) + within_y / (1_030 * 1_029)
    expected -= 2 * between / (1_100 * 1_030)
    assert squared_mmd(x, y[:1_030]) == pytest.approx(expected, rel=1e-9)


def test_subsets_average_to_the_whole_and_the_seed_decides_them():
    x, y = np.random.default_rng(4).normal(size=(2, 60, 3))
    mean, std = kernel_distance(x, y + 0.5, num_subsets=800, subset_size=20)
    assert mean == pytest.approx(squared_mmd(x, y + 0.5), abs=4 * std / np.sqrt(800))
    assert kernel_distance(x, y, 3, 20, 5) == kernel_distance(x, y, 3, 20, 5)
    assert kernel_distance(x, y, 3, 20, 5) != kernel_distance(x, y, 3, 20, 6)
    full = kernel_distance(x, y, num_subsets=2, subset_size=60)
    assert full == pytest.approx((squared_mmd(x, y), 0), abs=1e-12)


def test_memory_is_that_of_a_subset(tmp_path):
    np.save(tmp_path / "features.npy", np.zeros((20_000, 64), np.float32))
    features = np.load(tmp_path / "features.npy", mmap_mode="r")
    tracemalloc.start()
    kernel_distance(features, features, num_subsets=2, subset_size=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5e6  # the features take 5 MB, their kernel would take 3.2 GB


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((1, 2)), np.zeros((3, 2)), r"\[2 or more, d\]"),
        (np.zeros((3, 2)), np.zeros((3, 1)), r"\(3, 2\) and \(3, 1\)"),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), "y: 3 of 3 rows"),
    ],
)
def test_bad_features_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        squared_mmd(x, y)


def test_a_subset_larger_than_a_set_is_refused():
    with pytest.raises(ValueError, match="subset_size=10: give at least 1 subset of 2 to 9 rows"):
        kernel_distance(np.zeros((9, 2)), np.zeros((20, 2)), subset_size=10)
