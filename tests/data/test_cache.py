"""What the cache writes to disk: names, files and their order."""

import json

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.cache import folder_of, open_arrays, write_examples
from gm_jax.data.reader import Example

FIELDS = {"tokens": data.Field((3,), "int32"), "label": data.Field((), "int32", None, 5)}
TOKENS = np.arange(12, dtype=np.int32).reshape(4, 3)
EXAMPLES = [Example({"tokens": row, "label": n}, f"row {n}") for n, row in enumerate(TOKENS)]


def test_caches_of_every_earlier_version_are_found_by_their_names():
    recipe = {"source": "npz:/a.npz", "fingerprint": "f", "resize": 8, "crop": "none"}
    folder = folder_of("/c", {**recipe, "filter": "box", "split": "train"})
    assert folder.name == "npz-a-npz-train-0b95e46c4e810fd8604cd50e"


def test_images_and_labels_keep_their_files_and_their_recipe(tmp_path):
    data.load("digits", "test", resize=4, cache_dir=str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert {file.name for file in folder.iterdir()} == {"images.npy", "labels.npy", "metadata.json"}
    metadata = json.loads((folder / "metadata.json").read_text())
    keys = ("source", "fingerprint", "resize", "crop", "filter", "split")
    assert folder_of(str(tmp_path), {key: metadata[key] for key in keys}) == folder


def test_any_field_is_written_and_mapped(tmp_path):
    assert write_examples(tmp_path, iter(EXAMPLES), 4, FIELDS) == {"count": 4, "tokens_shape": [3]}
    arrays = open_arrays(tmp_path)
    np.testing.assert_array_equal(arrays["tokens"], TOKENS)
    np.testing.assert_array_equal(arrays["label"], np.arange(4))
    assert isinstance(arrays["tokens"], np.memmap) and not isinstance(arrays["label"], np.memmap)


def test_examples_of_another_shape_or_number_are_refused(tmp_path):
    torn = [*EXAMPLES[:3], Example({"tokens": TOKENS[0, :2], "label": 0}, "torn")]
    with pytest.raises(ValueError, match=r"torn: tokens is int32 \[2\], not int32 \[3\]"):
        write_examples(tmp_path, iter(torn), 4, FIELDS)
    with pytest.raises(ValueError, match="announced 5 examples and gave 4"):
        write_examples(tmp_path, iter(EXAMPLES), 5, FIELDS)
