"""An export gives what its run gave, with gm_jax and without it."""

import json
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest

import gm_jax
from gm_jax import session
from gm_jax.exporting import export, programs, weights
from gm_jax.state import evaluation_variables
from gm_jax.training.run import open_trained
from tests import toy as toy_page
from tests.support import images


@pytest.fixture(scope="module")
def exported(toy_workdir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    command = ["--config=tests/toy.py"]
    config = toy_page.get_config()
    session.run(config, str(toy_workdir), "export", output=str(folder), command=command)
    return folder


def test_an_export_is_loaded_as_its_run_is(toy_workdir, exported):
    theirs, ours = gm_jax.load(toy_workdir), gm_jax.load(exported)
    assert (ours.config, ours.step) == (theirs.config, theirs.step)
    batch = images(11)
    np.testing.assert_array_equal(ours.sample(5)["image"], theirs.sample(5)["image"])
    np.testing.assert_array_equal(ours.log_likelihood(batch), theirs.log_likelihood(batch))
    latents = [model.encode(batch, seed=3) for model in (ours, theirs)]
    jax.tree.map(np.testing.assert_array_equal, *latents)


# Without gm_jax; what it finds is what `load` finds with the same seed and numbers.
ALONE = """
import pathlib, sys
import jax.export, numpy as np, safetensors.numpy
folder, given, found = map(pathlib.Path, sys.argv[1:])
parameters = safetensors.numpy.load_file(folder / "model.safetensors")
images = np.load(given)
def call(name, count, **batch):
    program = jax.export.deserialize((folder / f"{name}.stablehlo").read_bytes())
    assert program.platforms == ("cpu", "cuda", "tpu")
    batch["index"] = np.arange(count, dtype=np.int32)
    return program.call(parameters, batch, np.uint32(0))
(latents,) = call("encode", 3, image=images[:3])
np.savez(found, sample=call("sample", 5)["image"], latents=latents,
    log_likelihood=call("log_likelihood", len(images), image=images)["log_likelihood"],
    decode=call("decode", 3, latents=[latents])["image"])
assert "gm_jax" not in sys.modules
"""


def test_its_programs_give_the_same_without_gm_jax(exported, tmp_path):
    """For any batch size."""
    batch = images(7)
    np.save(tmp_path / "given.npy", batch)
    arguments = [exported, tmp_path / "given.npy", tmp_path / "found.npz"]
    subprocess.run([sys.executable, "-c", ALONE, *arguments], check=True, cwd=tmp_path)
    model, found = gm_jax.load(exported), np.load(tmp_path / "found.npz")
    (latents,) = model.encode(batch[:3])
    np.testing.assert_allclose(found["latents"], latents, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["log_likelihood"], model.log_likelihood(batch), rtol=1e-5)
    decoded = model.decode([latents])["image"]
    for name, ours in (("sample", model.sample(5)["image"]), ("decode", decoded)):
        apart = np.abs(found[name].astype(int) - ours)
        assert (apart > 0).mean() < 0.01, name  # of rounding


def test_a_function_that_counts_its_examples_is_exported_for_a_fixed_number(exported, monkeypatch):
    run = open_trained(exported)
    variables = evaluation_variables(run.state_template)

    def count(variables, batch, noise):
        return {"log_likelihood": np.full(len(batch["image"]), len(batch["image"]), np.float32)}

    monkeypatch.setattr(run.method, "log_likelihood", count)
    program = programs.build(run, variables, ["log_likelihood"])["log_likelihood"]
    assert program.size == 16 and program.batch["image"] == "uint8 [16, 8, 8, 1]" and program.why
    (found,) = jax.export.deserialize(program.serialized).out_avals
    assert found.shape == (16,)


def test_the_card_says_what_is_on_record(toy_workdir, exported):
    card = (exported / "README.md").read_text()
    score = json.loads((toy_workdir / "test.json").read_text())
    shown = f"{score['bits_per_dim']:.4g} ± {score['standard_error']:.2g}"
    assert card.startswith("---\nlicense: ") and f"| bits_per_dim | {shown} |" in card
    assert "python experiments/main.py --config=tests/toy.py --workdir=WORKDIR`" in card
    hashes = json.loads((exported / "data.json").read_text())["splits"]["test"]
    assert f"| test | digits, test[:24] | 24 | image {hashes['image']}" in card
    example = card.partition("```python\nimport jax")[2].partition("```")[0]
    names = {"parameters": weights.FILE_NAME, "sample": "sample.stablehlo"}
    assert all(f'"{name}"' in example for name in names.values())


def test_a_damaged_or_foreign_file_is_refused(exported, tmp_path):
    content = (exported / weights.FILE_NAME).read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    for damaged in (flipped, content[:-8], b"", b"\xff" * 64):
        for path in exported.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / weights.FILE_NAME).write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged and cannot be read"):
            gm_jax.load(tmp_path)
    about = json.loads((tmp_path / export.FILE_NAME).read_text())
    (tmp_path / export.FILE_NAME).write_text(json.dumps({**about, "sha256": {}}))
    with pytest.raises(ValueError, match=r"export\.json is damaged"):
        gm_jax.load(tmp_path)


def test_nothing_is_written_over(toy_workdir, exported, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    taken = (None, tmp_path, tmp_path / "mine.txt", exported)
    reasons = ["give --output=DIR"] + ["exists and is not empty"] * 3
    for output, reason in zip(taken, reasons, strict=True):
        given = None if output is None else str(output)
        with pytest.raises(SystemExit) as end:
            session.run(toy_page.get_config(), str(toy_workdir), "export", output=given)
        assert end.value.code == 2 and reason in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
