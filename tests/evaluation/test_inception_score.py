"""Inception score on cases with a known value."""

import numpy as np
import pytest

from gm_jax.evaluation import inception_score


def _one_hot_logits(labels, classes):
    return np.where(np.eye(classes)[labels] > 0, 0.0, -np.inf)


def test_balanced_certain_predictions_score_the_number_of_classes():
    mean, std = inception_score(_one_hot_logits(np.arange(70) % 7, 7), num_splits=1)
    assert mean == pytest.approx(7, rel=1e-12)
    assert std == 0


def test_equal_predictions_score_one():
    logits = np.tile(np.random.default_rng(0).normal(size=10), (50, 1))
    assert inception_score(logits, num_splits=5) == pytest.approx((1, 0), abs=1e-12)


def test_score_is_the_exponential_of_the_mutual_information():
    """Two kinds of rows p, q: exp(H(mean) − mean H)."""
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    mean, _ = inception_score(np.log(np.repeat(probs, 20, axis=0)), num_splits=1)

    def entropy(p):
        return -(p * np.log(p)).sum(axis=-1)

    assert mean == pytest.approx(np.exp(entropy(probs.mean(0)) - entropy(probs).mean()), rel=1e-12)


def test_rows_sorted_by_class_score_as_well_as_shuffled_ones():
    labels = np.repeat(np.arange(10), 1000)
    mean, _ = inception_score(_one_hot_logits(labels, 10))
    assert mean > 9.9


def test_score_does_not_depend_on_the_scale_of_each_row():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(100, 5))
    shifted = logits + 1e4 * rng.normal(size=(100, 1))
    assert inception_score(shifted) == pytest.approx(inception_score(logits), rel=1e-9)


def test_the_seed_decides_the_splits():
    logits = np.random.default_rng(2).normal(size=(100, 5)) * 3
    assert inception_score(logits, seed=3) == inception_score(logits, seed=3)
    assert inception_score(logits, seed=3)[1] != inception_score(logits, seed=4)[1]


@pytest.mark.parametrize(
    ("logits", "num_splits", "message"),
    [
        (np.zeros((5, 3)), 10, "5 samples cannot make 10 splits"),
        (np.zeros((5, 3)), 0, "cannot make 0 splits"),
        (np.zeros(5), 1, r"\[n, classes\]"),
        (np.full((2, 3), np.nan), 1, "2 of 2 rows"),
        (np.full((2, 3), -np.inf), 1, "2 of 2 rows"),
        (np.array([[0.0, np.inf], [0, 0]]), 1, "1 of 2 rows"),
    ],
)
def test_bad_logits_are_refused(logits, num_splits, message):
    with pytest.raises(ValueError, match=message):
        inception_score(logits, num_splits)
