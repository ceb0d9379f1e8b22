"""Files of statistics: what is written is read, and what is no such file is refused."""

import numpy as np
import pytest

from gm_jax.evaluation import read_statistics, write_statistics
from gm_jax.evaluation.reference_statistics import Statistics, check_features

DATA = {"source": "digits", "split": "test", "num_images": 9, "sha256": "0123456789abcdef"}
FEATURES = {"name": "inception", "sha256": "fedcba9876543210", "resize": "tf1"}
COVARIANCE = np.array([[2.0, 1], [1, 3]]) / 3
STATISTICS = Statistics(np.array([1 / 3, 2]), COVARIANCE, 9, FEATURES, DATA)


def test_what_is_written_is_read(tmp_path):
    write_statistics(tmp_path / "file.npz", STATISTICS)
    read = read_statistics(tmp_path / "file.npz")
    np.testing.assert_array_equal(read.mean, STATISTICS.mean)
    np.testing.assert_array_equal(read.covariance, COVARIANCE)
    assert read[2:] == STATISTICS[2:]


def test_other_features_are_refused():
    check_features(STATISTICS, dict(FEATURES), "file.npz")
    for changed in ({"resize": "clean"}, {"sha256": "another"}):
        with pytest.raises(ValueError, match=r"file\.npz is of the features .*: take the s"):
            check_features(STATISTICS, {**FEATURES, **changed}, "file.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": None, "data": None, "n": None}, "it lacks data, features, n"),
        ({"sigma": np.eye(3)}, r"mu is \(2,\), sigma \(3, 3\)"),
        ({"data": "no JSON"}, "cannot be read"),
    ],
)
def test_what_does_not_say_its_origin_or_is_damaged_is_refused(tmp_path, changes, message):
    path = tmp_path / "file.npz"
    write_statistics(path, STATISTICS)
    with np.load(path) as stored:
        arrays = {**stored, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=message):
        read_statistics(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="write it anew with --reference_statistics"):
        read_statistics(path)
