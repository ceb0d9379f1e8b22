"""IDX files are read as they are, plain or gzipped, and refused where they are not whole."""

import gzip
import re
import struct

import numpy as np
import pytest

from gm_jax import data

RNG = np.random.default_rng(0)
IMAGES = {"train": RNG.integers(0, 256, (12, 6, 4), np.uint8)}
IMAGES["t10k"] = RNG.integers(0, 256, (5, 6, 4), np.uint8)
LABELS = {"train": np.array([7, 3, 9] * 4, np.uint8), "t10k": np.array([3, 9, 9, 7, 3], np.uint8)}


def packed(array):
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def write(folder, prefix="", ending=".gz"):
    folder.mkdir(exist_ok=True)
    for split in IMAGES:
        for kind, array in (("images-idx3", IMAGES[split]), ("labels-idx1", LABELS[split])):
            path = folder / f"{prefix}{split}-{kind}-ubyte{ending}"
            path.write_bytes(gzip.compress(packed(array)) if ending else packed(array))
    return folder


def load(folder, split, cache):
    return data.load(f"idx:{folder}", split, cache_dir=str(cache))


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_images_and_labels_are_those_of_the_files(tmp_path, ending):
    folder = write(tmp_path / "set", ending=ending)
    for split, name in (("train", "train"), ("t10k", "test")):
        found = load(folder, name, tmp_path)
        np.testing.assert_array_equal(found.images[..., 0], IMAGES[split])
        np.testing.assert_array_equal(np.array([3, 7, 9])[found.labels], LABELS[split])
        assert (found.levels, found.num_classes) == (256, 3)
    part = load(folder, "train[4:9]", tmp_path)
    np.testing.assert_array_equal(part.images[..., 0], IMAGES["train"][4:9])


def test_one_of_several_sets_is_named_and_emnists_images_stand_up(tmp_path):
    folder = write(write(tmp_path / "sets", "emnist-letters-"), "emnist-mnist-")
    found = load(folder / "emnist-letters", "test", tmp_path)
    np.testing.assert_array_equal(found.images[..., 0], IMAGES["t10k"].swapaxes(1, 2))
    with pytest.raises(ValueError, match=r"several sets, choose among .*/emnist-letters, .*-mnist"):
        load(folder, "test", tmp_path)


def damaged(folder, kind):
    images = folder / "train-images-idx3-ubyte"
    if kind == "short":
        images.write_bytes(images.read_bytes()[:-3])
    elif kind == "magic":
        images.write_bytes(b"\0\0\x0d\3" + images.read_bytes()[4:])
    elif kind == "counts":
        (folder / "train-labels-idx1-ubyte").write_bytes(packed(LABELS["train"][:-1]))
    elif kind == "labels":
        (folder / "train-labels-idx1-ubyte").unlink()
    elif kind == "gzip":
        images.unlink()
        whole = gzip.compress(packed(IMAGES["train"]))
        images.with_name(images.name + ".gz").write_bytes(whole[:40] + b"xxxx" + whole[44:])
    else:
        for file in folder.iterdir():
            file.unlink()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("short", "train-images-idx3-ubyte is cut short"),
        ("magic", "is no IDX file of images .* begins with 00000d03"),
        ("counts", "has 12 images, .*train-labels-idx1-ubyte 11 labels"),
        ("labels", "train-labels-idx1-ubyte is missing"),
        ("gzip", r"ubyte.gz is (damaged|no IDX)"),
        ("empty", "no IDX files in .*; give idx:FOLDER"),
    ],
)
def test_files_that_are_not_whole_are_refused_by_name(tmp_path, kind, expected):
    folder = write(tmp_path / "set", ending="")
    damaged(folder, kind)
    with pytest.raises(ValueError, match=expected):
        load(folder, "train", tmp_path)


def test_fashion_mnist_is_complete(real_data, tmp_path):
    for split, count in (("train", 60_000), ("test", 10_000)):
        found = load(real_data / "fashion_mnist", split, tmp_path)
        assert found.images.shape == (count, 28, 28, 1) and found.num_classes == 10
        assert np.bincount(found.labels).tolist() == [count // 10] * 10
    assert re.search("idx:", ", ".join(data.sources.SOURCES))
