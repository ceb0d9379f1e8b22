"""A run continues with its own data, and says how other data differ."""

import json
import logging

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.fields import to_json
from gm_jax.training import recorded

IMAGES = np.arange(8, dtype=np.uint8)[:, None, None, None] + np.zeros((1, 2, 2, 1), np.uint8)


def splits(labels=(0, 1) * 4, images=IMAGES, classes=("cat", "dog")):
    """{split: the same few images}, of classes with names."""
    fields = data.image_spec((2, 2, 1), 256, classes)
    arrays = {"image": images, "label": np.array(labels, np.int32)}
    dataset = data.Dataset(arrays, fields, "memory", "all")
    return {"train": dataset, "test": dataset.first(2)}


def record(folder, given):
    recorded.record_data(folder, given["train"].fields, given)


def test_data_json_holds_names_and_hashes(tmp_path):
    record(tmp_path, splits())
    record(tmp_path, splits())
    assert recorded.read_data(tmp_path) == splits()["train"].fields
    saved = json.loads((tmp_path / "data.json").read_text())
    assert saved["fields"]["label"]["classes"] == ["cat", "dog"]
    assert saved["splits"]["train"] == {"examples": 8, **splits()["train"].fingerprint()}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"classes": ("dog", "cat")}, r'label.classes: \["cat", "dog"\] -> \["dog", "cat"\]'),
        ({"labels": (1, 0) * 4}, r'train.label: "\w+" -> "\w+"'),
        ({"images": IMAGES[::-1]}, r'train.image: "\w+" -> "\w+"'),
        ({"images": IMAGES[:6], "labels": (0, 1) * 3}, "train.examples: 8 -> 6"),
        ({"classes": ("a", "b", "c")}, "label.num_classes: 2 -> 3"),
    ],
)
def test_other_data_are_refused_and_told(tmp_path, other, message):
    record(tmp_path, splits())
    before = (tmp_path / "data.json").read_text()
    given = splits(**other)
    for look in (recorded.record_data, recorded.check_data):
        with pytest.raises(ValueError, match=f"holds a run on other data: .*{message}"):
            look(tmp_path, given["train"].fields, given)
    assert (tmp_path / "data.json").read_text() == before


def test_a_record_of_an_older_version_goes_on_with_a_line_and_is_completed(tmp_path, caplog):
    given = splits()
    old = to_json(given["train"].fields)
    old["label"].pop("classes")
    (tmp_path / "data.json").write_text(json.dumps(old))
    with caplog.at_level(logging.WARNING):
        assert not recorded.check_data(tmp_path, given["train"].fields, given)
        record(tmp_path, given)
    assert caplog.text.count("whether the data are the run's is not checked") == 2
    assert recorded.check_data(tmp_path, given["train"].fields, given)
    old["label"]["num_classes"] = 3
    (tmp_path / "data.json").write_text(json.dumps(old))
    with pytest.raises(ValueError, match=r"label.num_classes: 3 -> 2"):
        record(tmp_path, given)
