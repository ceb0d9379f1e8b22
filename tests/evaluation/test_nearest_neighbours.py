"""Nearest neighbours give labels, and tell two sets apart only if they differ."""

import numpy as np

from gm_jax.evaluation.nearest_neighbours import nearest_labels, told_apart


def test_the_nearest_reference_gives_its_label_in_any_number_of_rows():
    random = np.random.default_rng(1)
    examples, references = random.normal(size=(1_500, 2, 3)), random.normal(size=(30, 2, 3))
    labels = random.integers(0, 5, 30)
    distances = ((examples[:, None] - references) ** 2).sum((2, 3))
    expected = labels[distances.argmin(1)]
    np.testing.assert_array_equal(nearest_labels(examples, references, labels), expected)


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
