"""The split syntax is that of TFDS, for every source."""

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.splits import own_split, resolve_split

IMAGES = np.arange(33, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 1), np.uint8)


@pytest.fixture
def load(tmp_path):
    """Loads a split of 23 train and 10 test images that carry their own number."""
    split = np.repeat(["train", "test"], [23, 10])
    np.savez(tmp_path / "set.npz", image=IMAGES, split=split, label=np.arange(33))

    def numbers(name):
        dataset = data.load(f"npz:{tmp_path}/set.npz", name, cache_dir=str(tmp_path / "cache"))
        assert dataset.split == name
        np.testing.assert_array_equal(dataset.images[:, 0, 0, 0], dataset.labels)
        return dataset.labels.tolist()

    return numbers


@pytest.mark.parametrize(
    "split,expected",
    [
        ("train", range(23)),
        ("train[:90%]", range(21)),  # 20.7
        ("train[10%:]", range(2, 23)),  # 2.3
        ("train[:5]", range(5)),
        ("train[-5:]", range(18, 23)),
        ("train[2:-2]", range(2, 21)),
        ("train[-50%:]", range(11, 23)),  # round(-11.5) is -12, to even
        ("test+train[:2]", [*range(23, 33), 0, 1]),
        ("train[:2]+test[8:]", [0, 1, 31, 32]),
    ],
)
def test_slices_select_what_they_select_in_tfds(load, split, expected):
    assert load(split) == list(expected)


def test_slices_agree_with_tfds_own_reading(load):
    import tensorflow_datasets as tfds

    sizes = {"train": 23, "test": 10}
    infos = {
        name: tfds.core.SplitInfo(name=name, shard_lengths=[size], num_bytes=0)
        for name, size in sizes.items()
    }
    for split in ("train[37%:81%]", "train[-33%:]", "test[:45%]", "test[3:7]", "train[:-4]"):
        (read,) = tfds.core.ReadInstruction.from_spec(split).to_absolute(infos)
        start = (read.from_ or 0) + (23 if split.startswith("test") else 0)
        stop = start - (read.from_ or 0) + (read.to or sizes[read.splitname])
        assert load(split) == list(range(start, stop)), split


@pytest.mark.parametrize("percent", [10, 33, 50, 90])
def test_two_halves_of_a_split_share_nothing_and_miss_nothing(load, percent):
    assert load(f"train[:{percent}%]+train[{percent}%:]") == list(range(23))


def test_a_split_that_does_not_exist_names_those_that_do(load):
    with pytest.raises(ValueError, match=r"'validation'.*test.*train|'validation'.*train.*test"):
        load("validation")


@pytest.mark.parametrize("split", ["train[5:5]", "train[10:3]", "train[:0%]"])
def test_an_empty_slice_is_refused(load, split):
    with pytest.raises(ValueError, match="train"):
        load(split)


@pytest.mark.parametrize(
    "split", ["", "train[", "train[5]", "train[a:]", "train[1.5:]", "train[:99]"]
)
def test_what_cannot_be_read_is_refused(load, split):
    with pytest.raises(ValueError, match="split"):
        load(split)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("train", "validation", "test"), ("train", "validation", "test")),
        (("train", "val", "test", "extra"), ("train", "val", "test")),
        (("train", "test"), ("train[:90%]", "train[90%:]", "test")),
        (("train", "valid"), ("train[:90%]", "valid", "train[90%:]")),
        (("train",), ("train[:80%]", "train[80%:90%]", "train[90%:]")),
    ],
)
def test_a_source_has_a_split_for_every_use(names, expected):
    uses = ("train", "validation", "test")
    assert tuple(own_split(use, names) for use in uses) == expected
    rows = [resolve_split(split, dict.fromkeys(names, 100)) for split in expected]
    parts = [(name, row) for ranges in rows for name, *ends in ranges for row in range(*ends)]
    assert len(parts) == len(set(parts))  # none is of two uses


def test_a_source_without_a_training_split_is_refused():
    with pytest.raises(ValueError, match="no split 'train' among all"):
        own_split("test", ("all",))


def test_a_bound_split_is_of_its_source_alone(tmp_path):
    page = "train[:5] of digits"
    assert data.split_of("digits", page, "train") == "train[:5]"
    np.savez(tmp_path / "set.npz", image=IMAGES)
    assert data.split_of(f"npz:{tmp_path}/set.npz", page, "train") == "train[:80%]"
    assert data.split_of("photos", "test", "train") == "test"
