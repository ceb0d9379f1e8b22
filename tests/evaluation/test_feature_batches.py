"""Batches of features: every row once, however they are stored; refusals."""

import numpy as np
import pytest

from gm_jax.evaluation.feature_batches import feature_batches, rows_in_batches

FEATURES = np.random.default_rng(0).normal(size=(9000, 3)).astype(np.float32)


def test_arrays_files_and_iterables_give_every_row_once(tmp_path):
    np.save(tmp_path / "features.npy", FEATURES)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    for features in (FEATURES, mapped, [FEATURES[:5000], FEATURES[:0], FEATURES[5000:]]):
        batches = list(feature_batches(features))
        assert len(batches) > 2 and max(map(len, batches)) <= 4096 and min(map(len, batches)) > 0
        assert {batch.dtype for batch in batches} == {np.dtype(np.float64)}
        np.testing.assert_array_equal(np.concatenate(batches), FEATURES)


def test_chosen_rows_come_in_their_order():
    rows = np.arange(8999, 0, -2)
    np.testing.assert_array_equal(
        np.concatenate(list(rows_in_batches(FEATURES, rows))), FEATURES[rows]
    )


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros(3), r"mine are \[n, d\]"),
        (np.zeros((3, 0)), r"mine are \[n, d\]"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "mine: a batch has 4 features after batches of 3"),
        (np.array([[0.0], [np.nan]]), "mine: 1 of 2 rows"),
    ],
)
def test_bad_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        list(feature_batches(features, "mine"))
