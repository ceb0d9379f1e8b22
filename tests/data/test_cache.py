"""What the cache writes to disk: names, files and their order."""

import json
import os
import pwd

import numpy as np
import pytest

from gm_jax import data
from gm_jax.data.cache import append_rows, folder_of, open_arrays, write_examples
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


def cut(file):
    os.truncate(file, file.stat().st_size - 1)


def of_an_earlier_version(folder):
    """Metadata that do not note the sizes of the files; and a file that is cut."""
    metadata = json.loads((folder / "metadata.json").read_text())
    del metadata["files"]
    (folder / "metadata.json").write_text(json.dumps(metadata))
    cut(folder / "images.npy")


DAMAGES = {
    "images.npy has": lambda folder: cut(folder / "images.npy"),
    "No such file": lambda folder: (folder / "images.npy").unlink(),
    "labels.npy: No such file": lambda folder: (folder / "labels.npy").unlink(),
    "char 0": lambda folder: (folder / "metadata.json").write_text(""),
    "'list' object": lambda folder: (folder / "metadata.json").write_text("[]"),
    "mmap length": of_an_earlier_version,
    "magic": lambda folder: (folder / "labels.npy").write_bytes(
        b"\0" * (folder / "labels.npy").stat().st_size
    ),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_a_damaged_cache_is_decoded_anew_and_told_of(tmp_path, caplog, reason):
    def load():
        return data.load("digits", "test", resize=4, cache_dir=str(tmp_path)).arrays

    before = {name: np.array(array) for name, array in load().items()}
    (folder,) = tmp_path.iterdir()
    DAMAGES[reason](folder)
    for _ in range(2):  # the second time nothing is damaged
        after = load()
        assert after.keys() == before.keys()
        for name, array in before.items():
            np.testing.assert_array_equal(after[name], array)
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(folder) in line and reason in line and [*tmp_path.iterdir()] == [folder]


def test_a_folder_that_cannot_be_written_and_no_home_name_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file/cache.*Not a directory.*GM_JAX_CACHE"):
        data.load("digits", "test", cache_dir=str(tmp_path / "file" / "cache"))
    for name in ("HOME", "GM_JAX_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(ValueError, match=r"home directory.*GM_JAX_CACHE"):
        data.load("digits", "test")


def test_rows_that_are_added_make_an_array_and_a_full_disk_is_an_error(tmp_path):
    rows = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    for part in np.split(rows, [2, 3]):
        append_rows(tmp_path / "rows.npy", part, 5)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", "r"), rows)
    (tmp_path / "full.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: .*full\.npy"):
        append_rows(tmp_path / "full.npy", rows, 5)
