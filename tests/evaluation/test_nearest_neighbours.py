"""Nearest neighbours give labels, and tell two sets apart only if they differ."""

import tracemalloc

import numpy as np

from gm_jax.evaluation import nearest_neighbours
from gm_jax.evaluation.nearest_neighbours import nearest_labels, told_apart


def test_the_nearest_reference_gives_its_label_in_any_number_of_rows():
    random = np.random.default_rng(1)
    examples, references = random.normal(size=(1_500, 2, 3)), random.normal(size=(30, 2, 3))
    labels = random.integers(0, 5, 30)
    distances = ((examples[:, None] - references) ** 2).sum((2, 3))
    expected = labels[distances.argmin(1)]
    np.testing.assert_array_equal(nearest_labels(examples, references, labels), expected)


def test_blocks_change_nothing_and_bound_the_memory(monkeypatch):
    """In float64 the two sets would take 25 MB together, and their distances 1 MB."""
    images = np.random.default_rng(4).integers(0, 256, (2, 400, 64, 64, 1)).astype(np.uint8)
    labels = np.arange(400)
    whole = nearest_labels(*images, labels), told_apart(*images)
    monkeypatch.setattr(nearest_neighbours, "_MOST_VALUES", 2**15)
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(nearest_labels(*images, labels), whole[0])
        assert tracemalloc.get_traced_memory()[1] < 3e6
        assert told_apart(*images) == whole[1]
    finally:
        tracemalloc.stop()


def test_images_do_not_overflow_their_dtype():
    white, black = np.full((1, 2, 2, 1), 255, np.uint8), np.zeros((1, 2, 2, 1), np.uint8)
    both = np.concatenate([black, white])
    np.testing.assert_array_equal(nearest_labels(both - both // 8, both, [3, 7]), [3, 7])


def test_sets_of_one_distribution_cannot_be_told_apart_and_others_can():
    first, second = np.random.default_rng(2).normal(size=(2, 1_000, 2, 1))
    assert abs(told_apart(first, second) - 1 / 2) < 4 * np.sqrt(1 / 4 / 1_000)
    assert 0.6 < told_apart(first, second + 1) < told_apart(first, second + 10) == 1


def test_a_set_that_repeats_another_is_below_chance_and_the_longer_one_is_cut():
    examples = np.random.default_rng(3).normal(size=(50, 4))
    assert told_apart(examples, examples) == 0
    far = np.concatenate([examples + 100, examples])
    assert told_apart(examples, far) == 1
