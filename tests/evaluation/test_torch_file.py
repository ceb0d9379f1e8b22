"""torch's two serialisations are read, and nothing in them is run.

The stored files were written once by torch 2.13.0: a Sequential of Conv2d(2, 3, (1, 2)) and
BatchNorm2d(3), a transposed tensor, a view and a half-precision tensor.
"""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gm_jax.evaluation.torch_file import read_torch_file

_FORMATS = pytest.mark.parametrize("name", ["torch_zip", "torch_legacy"])


@pytest.fixture
def torch_bytes(name):
    with np.load(Path(__file__).parent / "stored_references.npz") as stored:
        return stored[name].tobytes()


@_FORMATS
def test_tensors_are_read(torch_bytes, tmp_path):
    (tmp_path / "a.pth").write_bytes(torch_bytes)
    table = read_torch_file(tmp_path / "a.pth")
    np.testing.assert_array_equal(table["0.weight"], np.arange(12).reshape(3, 2, 1, 2))
    np.testing.assert_array_equal(table["0.bias"], np.float32([0.5, -1, 2]))
    np.testing.assert_array_equal(table["transposed"], np.arange(6).reshape(2, 3).T)
    np.testing.assert_array_equal(table["view"], [4, 5, 6])
    assert table["1.num_batches_tracked"].shape == ()
    assert table["half"].dtype == np.float16 and table["half"] == 1.5


@_FORMATS
@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.95])
def test_a_truncated_file_is_refused(torch_bytes, tmp_path, kept):
    length = int(kept * len(torch_bytes)) if isinstance(kept, float) else kept
    (tmp_path / "a.pth").write_bytes(torch_bytes[:length])
    with pytest.raises(ValueError, match=r"a\.pth cannot be read"):
        read_torch_file(tmp_path / "a.pth")


class _Hostile:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_a_hostile_pickle_is_refused_before_it_runs(tmp_path, container):
    victim, path = tmp_path / "made_by_the_pickle", tmp_path / "a.pth"
    hostile = pickle.dumps({"weight": _Hostile(os.mkdir, str(victim))}, protocol=2)
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", hostile)
    else:
        path.write_bytes(hostile)
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.mkdir"):
        read_torch_file(path)
    assert not victim.exists()


def test_a_view_past_its_storage_is_refused(tmp_path):
    """The stored zip file with the transposed tensor's offset raised: it would read foreign
    memory."""
    with np.load(Path(__file__).parent / "stored_references.npz") as stored:
        source = zipfile.ZipFile(io.BytesIO(stored["torch_zip"].tobytes()))
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        for entry in source.namelist():
            data = source.read(entry)
            if entry.endswith("data.pkl"):
                # (3,) with offset 4 is the view: K\x04 K\x03 \x85 in the pickle.
                assert data.count(b"K\x04K\x03\x85") == 1
                data = data.replace(b"K\x04K\x03\x85", b"K\x08K\x03\x85")
            archive.writestr(entry, data)
    with pytest.raises(ValueError, match="outside its storage"):
        read_torch_file(tmp_path / "a.pth")


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(ValueError, match="neither of torch's two serialisations"):
        read_torch_file(tmp_path / "a.pth")
