"""A data set knows its fields; arrays that do not match them are refused."""

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.fields import blanks, domains, from_json, main_field, to_json

IMAGES = np.arange(6, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 3, 1), np.uint8)


def test_views_show_what_is_there_and_none_for_what_is_not():
    dataset = data.Dataset.of_images(IMAGES, np.arange(6), 8, 6, "six", "train")
    assert dataset.image_shape == (2, 3, 1)
    assert (dataset.levels, dataset.num_classes, dataset.points) == (8, 6, None)
    assert dataset.labels.dtype == np.int32
    bare = data.Dataset.of_images(IMAGES, None, 8, 6, "six", "train")
    assert bare.labels is None and bare.num_classes is None and [*bare.fields] == ["image"]
    points = data.load("points:ring", "test[:5]")
    assert (points.images, points.image_shape, points.levels) == (None, None, None)
    assert points.points.shape == (5, 2)


def test_the_first_examples_keep_all_else():
    dataset = data.Dataset.of_images(IMAGES, np.arange(6), 8, 6, "six", "train")
    few = dataset.first(2)
    assert (len(few), len(dataset.first(9)), few.name, few.levels) == (2, 6, "six", 8)
    np.testing.assert_array_equal(few.labels, [0, 1])


def test_gathered_rows_are_copies_of_all_fields():
    dataset = data.Dataset.of_images(IMAGES.copy(), np.arange(6), 8, 6, "six", "train")
    batch = dataset.gather(np.array([4, 1]))
    np.testing.assert_array_equal(batch["image"][:, 0, 0, 0], batch["label"])
    np.testing.assert_array_equal(batch["label"], [4, 1])
    batch["image"][:] = 7
    np.testing.assert_array_equal(dataset.images, IMAGES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": IMAGES}, r"\['image'\].*\['image', 'label'\]"),
        ({"image": IMAGES.astype(np.float32), "label": np.zeros(6, np.int32)}, "float32.*uint8"),
        ({"image": IMAGES[:, :1], "label": np.zeros(6, np.int32)}, r"N, 2, 3, 1"),
        ({"image": IMAGES, "label": np.zeros(5, np.int32)}, "differ in length.*5"),
    ],
)
def test_arrays_that_their_fields_do_not_describe_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        data.Dataset(arrays, data.image_spec((2, 3, 1), 8, 6), "six", "train")


def test_fields_survive_json_and_blanks_fit_them():
    spec = {**data.image_spec((2, 3, 1), 8, 6), "point": data.Field((2,), "float32")}
    assert from_json(to_json(spec)) == spec
    dataset = data.Dataset(blanks(spec, 4), spec, "nothing", "blanks")
    assert (len(dataset), dataset.points.shape, dataset.labels.shape) == (4, (4, 2), (4,))


def test_names_of_classes_are_compared_where_both_are_known():
    named, other = (data.image_spec((2, 3, 1), 8, names)["label"] for names in ("ab", "ba"))
    unnamed = data.Field((), "int32", num_classes=2)
    assert named.equals(named) and not named.equals(other) and not named.equals(None)
    assert named.equals(unnamed) and unnamed.equals(other)
    assert not unnamed._replace(num_classes=3).equals(named)
    assert str(named) == "int32 [], 2 classes (a, b)"
    many = data.image_spec((2, 3, 1), 8, 999)["label"]
    assert str(many).endswith("18, 19, … 999 in all)")


def test_domains_are_told_by_the_ends_of_names():
    names = ("image", "label", "image_b", "label_b")
    assert domains(names) == {"": names[:2], "_b": names[2:]}
    assert domains(["point"]) == {"": ("point",)}


def test_the_main_field_is_what_a_model_is_of():
    assert main_field(data.image_spec((2, 3, 1), 8, 6)) == "image"
    assert main_field(data.load("points:blobs", "test[:5]").fields) == "point"
    with pytest.raises(ValueError, match="label"):
        main_field({"label": data.Field((), "int32")})
