"""The command's two modes and a loaded model compress and decompress alike."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gm_jax
from gm_jax import data, session
from gm_jax.images import spread
from gm_jax.training.run import load_split
from tests import toy as toy_page
from tests.support import LEVELS, images

CONFIG = toy_page.get_config()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def test_images(toy_workdir):
    return np.asarray(load_split(CONFIG.data, "test").images)


@pytest.fixture(scope="module")
def file(toy_workdir, test_images):
    path = toy_workdir / "nine.gmz"
    options = {"source": "digits:test[:9]", "output": str(path)}
    session.run(CONFIG, str(toy_workdir), "compress", **options)
    return path


def refusal(capsys, toy_workdir, mode, **options):
    with pytest.raises(SystemExit) as end:
        session.run(CONFIG, str(toy_workdir), mode, **options)
    assert end.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_a_loaded_model_reads_what_the_command_wrote(toy_workdir, file):
    model = gm_jax.load(toy_workdir)
    expected = np.asarray(data.load("digits", "test[:9]").images)
    np.testing.assert_array_equal(model.decompress(file.read_bytes()), expected)
    assert model.compress(expected) == file.read_bytes()


READER = """
import sys
import numpy as np
from gm_jax import load, methods
from tests.toy import Toy

methods.METHODS["toy"] = Toy
with open(sys.argv[2], "rb") as file:
    np.save(sys.argv[3], load.load(sys.argv[1]).decompress(file.read()))
"""


def test_a_process_that_did_not_write_the_file_reads_it(toy_workdir, file):
    output = toy_workdir / "read.npy"
    command = [sys.executable, "-c", READER, *map(str, (toy_workdir, file, output))]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(output), data.load("digits", "test[:9]").images)


def test_the_command_writes_an_array_and_pictures(toy_workdir, file, capsys):
    array, folder = file.with_suffix(".npz"), toy_workdir / "new" / "pictures"
    expected = np.asarray(data.load("digits", "test[:9]").images)
    for output in (array, folder):
        session.run(CONFIG, str(toy_workdir), "decompress", source=str(file), output=str(output))
        assert f"9 images in {output}" in capsys.readouterr().out
    again = data.load(f"npz:{array}", "train")
    np.testing.assert_array_equal(again.images, expected)
    assert again.levels == LEVELS
    drawn = [np.asarray(Image.open(folder / f"{n}.png"))[..., None] for n in range(9)]
    np.testing.assert_array_equal(drawn, spread(expected, LEVELS))


def test_a_damaged_file_is_refused_and_nothing_is_written(toy_workdir, file, capsys):
    content, damaged = bytearray(file.read_bytes()), toy_workdir / "damaged.gmz"
    content[-20] ^= 4
    damaged.write_bytes(content)
    output = toy_workdir / "refused"
    line = refusal(capsys, toy_workdir, "decompress", source=str(damaged), output=str(output))
    assert "the file is damaged" in line and not output.exists()
    missing = str(toy_workdir / "missing.gmz")
    line = refusal(capsys, toy_workdir, "decompress", source=missing, output=str(output))
    assert "missing.gmz: No such file" in line and not output.exists()


def test_what_does_not_fit_is_refused(toy_workdir, file, capsys):
    assert "--mode=compress needs --output" in refusal(
        capsys, toy_workdir, "compress", source="digits"
    )
    assert "--mode=decompress can take it" in refusal(
        capsys, toy_workdir, "sample", source="digits"
    )
    line = refusal(capsys, toy_workdir, "compress", source="digits", output="digits.zip")
    assert "--output=digits.zip: give a file, *.gmz" in line
    line = refusal(capsys, toy_workdir, "compress", source="binary:digits", output="x.gmz")
    assert "give images like these" in line
    line = refusal(capsys, toy_workdir, "decompress", source=str(file), output=str(toy_workdir))
    assert "exists; give a new folder" in line


def test_the_size_of_a_batch_is_in_the_file(toy_workdir):
    model, batch = gm_jax.load(toy_workdir), images(5)
    for size in (1, 2, 5):
        np.testing.assert_array_equal(model.decompress(model.compress(batch, size)), batch)
    with pytest.raises(ValueError, match="batch_size is 0; give 1 or more"):
        model.compress(batch, 0)


def test_a_split_may_follow_a_source():
    parse = data.source_and_split
    assert parse("digits") == ("digits", "test")
    assert parse("digits:train") == ("digits", "train")
    assert parse("binary:digits:test[:10%]") == ("binary:digits", "test[:10%]")
    assert parse("binary:digits") == ("binary:digits", "test")
    with pytest.raises(ValueError, match=r"unknown data.source 'digit:test'"):
        parse("digit:test")
