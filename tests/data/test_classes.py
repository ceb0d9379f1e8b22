"""Classes are identified by their names, whatever their numbers in a set of images."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from gm_jax import data
from gm_jax.data import npz

PIXELS = np.arange(6, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8)


def archive(folder, labels):
    np.savez(folder / "set.npz", image=PIXELS, label=labels)
    return data.load(f"npz:{folder / 'set.npz'}", "train", cache_dir=str(folder / "cache"))


def folder(root, *classes):
    """A picture of every class, with the brightness at the end of its name."""
    for name in classes:
        (root / "train" / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), int(name[-1]), np.uint8)).save(
            root / "train" / name / "0.png"
        )
    return data.load(f"folder:{root}", "train", cache_dir=str(root.parent / "cache"))


@pytest.mark.parametrize("largest", [9, 1_000_000, 2**62])
def test_integers_with_gaps_are_classes_by_their_sorted_values(tmp_path, largest):
    tracemalloc.start()
    dataset = archive(tmp_path, np.array([largest, 3, largest, 3, 3, 7]))
    assert tracemalloc.get_traced_memory()[1] < 20e6  # nothing is as large as the largest label
    tracemalloc.stop()
    assert (dataset.num_classes, dataset.classes) == (3, ("3", "7", str(largest)))
    np.testing.assert_array_equal(dataset.labels, [2, 0, 2, 0, 0, 1])


def test_names_in_an_archive_are_classes(tmp_path):
    for kind in ("U", "S"):
        dataset = archive(
            tmp_path, np.array(["dog", "cat", "dog", "ant", "cat", "cat"]).astype(kind)
        )
        assert dataset.classes == ("ant", "cat", "dog")
        np.testing.assert_array_equal(dataset.labels, [2, 1, 2, 0, 1, 1])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([20_240_101, 1_999_999_999] * 3), r"20240101\.\.1999999999, which are ids"),
        (np.array([-2, 0, 1] * 2), "label -2 is negative"),
        (np.array([0, 1] * 3, object), "label cannot be read .* not of Python objects"),
        (np.array([0.5, 1] * 3), "label is float64; store integers, or names"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message):
        archive(tmp_path, labels)


def test_a_set_that_lacks_a_class_keeps_the_others_in_place(tmp_path):
    train = folder(tmp_path / "train", "a1", "b2", "c3")
    other = folder(tmp_path / "other", "c3", "a1")
    np.testing.assert_array_equal(sorted(other.labels), [0, 1])
    numbers = other.labels_among(train.classes)
    by_brightness = dict(zip(train.images[:, 0, 0, 0], train.labels, strict=True))
    assert [by_brightness[each] for each in other.images[:, 0, 0, 0]] == [*numbers]


def test_what_cannot_be_matched_is_refused_with_both_lists(tmp_path):
    dataset = folder(tmp_path / "set", "b2", "a1")
    with pytest.raises(
        ValueError, match=r"classes .* are a1, b2; .* the classes c, a1: there is no b2"
    ):
        dataset.labels_among(("c", "a1"))
    with pytest.raises(ValueError, match="have no labels"):
        data.Dataset.of_images(PIXELS[..., None], None, 256, None, "n", "all").labels_among(("a",))


def test_a_class_that_no_image_is_of_need_not_be_matched(tmp_path):
    np.savez(tmp_path / "a.npz", image=PIXELS, label=[4, 5, 9] * 2, split=[0, 0, 1] * 2)
    train = data.load(f"npz:{tmp_path / 'a.npz'}", "train", cache_dir=str(tmp_path))
    np.testing.assert_array_equal(train.labels_among(("5", "4")), [1, 0, 1, 0])


def test_the_fingerprint_of_a_set_is_of_its_values_and_their_order(tmp_path):
    labels = np.array([1, 0] * 3)
    first = archive(tmp_path, labels).fingerprint()
    assert archive(tmp_path, labels.copy()).fingerprint() == first  # read anew from another file
    other = archive(tmp_path, labels[::-1]).fingerprint()
    assert other["image"] == first["image"] and other["label"] != first["label"]
    whole, part = (
        data.load("digits", split, cache_dir=str(tmp_path)) for split in ("test", "test[:9]")
    )
    assert whole.fingerprint()["image"] != part.fingerprint()["image"]
    points = data.load("points:ring", "test[:5]")
    assert points.fingerprint() != data.load("points:ring", "test[1:6]").fingerprint()


def test_caches_of_labels_without_gaps_are_kept(tmp_path):
    np.savez(tmp_path / "a.npz", image=PIXELS, label=[0, 1, 2] * 2)
    np.savez(tmp_path / "b.npz", image=PIXELS, label=[0, 1, 4] * 2)
    plain, gaps = (npz.open_npz(str(tmp_path / name)).fingerprint for name in ("a.npz", "b.npz"))
    assert len(plain) == 64 < len(gaps)
