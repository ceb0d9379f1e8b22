"""The command that sweeps: runs in processes of their own, of which some may fail."""

import contextlib
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from configs import adaptive_density
from experiments import sweep as program
from gm_jax.sweep import Row, product, with_fields

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(process, folder) of a sweep of two runs, one of which wants more images than there are."""
    folder = tmp_path_factory.mktemp("sweep")
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    }
    page = ROOT / "configs" / "adaptive_density.py"
    process = subprocess.run(
        [
            sys.executable,
            ROOT / "experiments" / "sweep.py",
            f"--config={page}:gan,smoke",
            "--grid=data.batch_size=8,100000",
            "--config.train.steps=1",
            "--jobs=2",
            "--output=out",
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return process, folder / "out"


def test_a_run_that_fails_says_so_and_does_not_stop_the_others(done):
    process, folder = done
    assert process.returncode == 1, process.stderr
    assert "batch_size_8-seed_0: finished" in process.stderr
    assert "data.batch_size is 100000, but digits has only 64 examples" in process.stderr
    (command,) = [line for line in process.stderr.splitlines() if "main.py" in line]
    assert shlex.split(command)[-4:] == [
        "--config.train.steps=1",
        "--config.data.batch_size=100000",
        "--config.seed=0",
        "--workdir=out/batch_size_100000-seed_0",
    ]
    log = (folder / "logs" / "batch_size_100000-seed_0.log").read_text()
    assert "lower data.batch_size" in log


def test_a_method_without_scores_has_a_table_of_its_runs_and_samples(done):
    _, folder = done
    assert (folder / "table.csv").read_text() == "data.batch_size,seeds\n8,1\n"
    assert (folder / "table.md").read_text().splitlines()[2] == "| 8 | 1 |"
    with Image.open(folder / "samples.png") as picture:
        assert picture.width > 2 * picture.height  # one row
    assert not (folder / "curve.png").exists()


def test_a_finished_run_is_not_started_again(done, capsys):
    _, folder = done
    config = with_fields(adaptive_density.get_config("gan,smoke"), {"train.steps": 1})
    members = product(config, {"data.batch_size": [8]}, [0])
    commands = {name: ["no such program"] for name in members}
    assert program.train_all(members, commands, folder, jobs=1) == []
    assert "1 runs, 0 of them to train" in capsys.readouterr().err


def test_as_many_run_as_are_asked_for_and_none_is_left(tmp_path):
    commands = {str(n): [sys.executable, "-c", f"print({n})"] for n in range(3)}
    assert sorted(program.train(commands, tmp_path, jobs=2)) == ["0", "1", "2"]
    assert (tmp_path / "2.log").read_text() == "2\n"
    pid = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    sleepers = {"quick": [sys.executable, "-c", ""], "slow": [sys.executable, "-c", pid]}
    with contextlib.closing(program.train(sleepers, tmp_path, jobs=2)) as ended:
        assert next(ended) == "quick"
        while not (log := (tmp_path / "slow.log").read_text()):
            time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log), 0)


def test_a_curve_is_of_one_numeric_field():
    def row(value, *bits):
        return Row({"model.kl_weight": value}, ["run"], {"bits_per_dim": np.array(bits)})

    picture = program.curve([row(2.0, 1.5), row(1.0, 1.8, 1.7), row(4.0, 1.4, 1.3)])
    assert picture.shape == (program.SIZE[1], program.SIZE[0], 3)
    # The line falls from the mean at the left to the mean at the right.
    blue = np.argwhere((picture == (0, 0, 255)).all(axis=-1))
    left, right = blue[blue[:, 1].argmin()], blue[blue[:, 1].argmax()]
    assert left[0] < right[0]
    assert program.curve([row("a", 1.0), row("b", 2.0)]) is None
    assert program.curve([row(1.0, 1.0)]) is None
    two = [Row({"a": value, "b": 1}, ["run"], {"bits_per_dim": np.ones(1)}) for value in (1, 2)]
    assert program.curve(two) is None
