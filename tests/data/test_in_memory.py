"""What a caller gives in memory is checked field by field."""

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.in_memory import checked_dataset

SPEC = data.image_spec((2, 3, 1), 8, 4)
PAIR = {**SPEC, "image_b": data.Field((2, 2, 3), "uint8", 256)}
POINTS = {"point": data.Field((2,), "float32")}
TOKENS = {"tokens": data.Field((5,), "int32")}
IMAGES = np.zeros((6, 2, 3, 1), np.uint8)


def test_a_bare_array_is_the_main_field():
    dataset = checked_dataset(IMAGES, [0, 1, 2, 3, 0, 1], SPEC)
    assert dataset.fields == SPEC and dataset.labels.dtype == np.int32
    assert [*checked_dataset(IMAGES, None, SPEC).fields] == ["image"]
    points = checked_dataset([[1, 2], [3, 4]], None, POINTS)
    assert points.points.dtype == np.float32 and len(points) == 2
    assert checked_dataset(np.ones((3, 5), np.int64), None, TOKENS).arrays["tokens"].shape == (3, 5)


def test_named_arrays_are_checked_each_against_its_field():
    second = np.zeros((4, 2, 2, 3), np.uint8)
    dataset = checked_dataset({"image": IMAGES, "image_b": second}, None, PAIR)
    assert dataset.lengths == {"": 6, "_b": 4}
    with pytest.raises(ValueError, match=r"\(4, 1, 2, 3\).*2, 2, 3"):
        checked_dataset({"image": IMAGES, "image_b": second[:, :1]}, None, PAIR)


@pytest.mark.parametrize(
    ("examples", "labels", "spec", "message"),
    [
        (IMAGES / 2, None, SPEC, r"float64; give uint8 in 0\.\.7"),
        (IMAGES[:, :1], None, SPEC, r"\(6, 1, 3, 1\); give \[N ≥ 1, 2, 3, 1\]"),
        (IMAGES[:0], None, SPEC, "N ≥ 1"),
        (IMAGES + np.uint8(8), None, SPEC, r"value 8; those of 8 levels are in 0\.\.7"),
        (IMAGES, np.zeros(5, int), SPEC, r"give integers \[6\]"),
        (IMAGES, np.full(6, 4), SPEC, r"4\.\.4, but there are 4 classes"),
        (IMAGES, np.zeros(6, int), data.image_spec((2, 3, 1), 8), "there are 0 classes"),
        ({"image_b": IMAGES}, None, PAIR, "give image"),
        ({"image": IMAGES, "depth": IMAGES}, None, SPEC, "depth; give image"),
        (np.zeros((3, 3)), None, POINTS, r"\(3, 3\); give \[N ≥ 1, 2\]"),
        (np.full((3, 2), np.nan), None, POINTS, "NaN"),
        (np.full((3, 2), "a"), None, POINTS, "give float32"),
        (np.zeros((3, 5)), None, TOKENS, "float64; give int32"),
    ],
)
def test_what_the_model_does_not_model_is_refused(examples, labels, spec, message):
    with pytest.raises(ValueError, match=message):
        checked_dataset(examples, labels, spec)
