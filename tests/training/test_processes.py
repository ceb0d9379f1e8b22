"""Real processes: several that train as one, and one that gets killed."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from gm_jax import session
from gm_jax.training import loop
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.run import open_run
from tests import toy

ROOT = Path(__file__).resolve().parents[2]
STEPS = 40
TRAIN = {
    "checkpoint_every_steps": 5,
    "evaluate_every_steps": 1000,
    "deterministic": True,
}
pytestmark = pytest.mark.usefixtures("toy")
_started = []


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    _started.clear()


def start(workdir, *flags, devices=8, steps=STEPS, **environment):
    """The command, whose steps take a moment each (`tests/toy.py`)."""
    fields = {**TRAIN, "steps": steps}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tests.toy",
            "--config=tests/toy.py",
            f"--workdir={workdir}",
            *(f"--config.train.{name}={value}" for name, value in fields.items()),
            *flags,
        ],
        cwd=ROOT,
        env=os.environ
        | environment
        | {
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _started.append(process)
    return process


def start_two(workdir, *flags, other=(), of_other=None, **options):
    """Two processes; `other` flags, and environment `of_other`, are of the second one alone."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [
        start(
            workdir,
            f"--coordinator={address}",
            "--num_processes=2",
            f"--process_id={number}",
            *flags,
            *(other if number else ()),
            devices=1,
            **(options | ((of_other or {}) if number else {})),
        )
        for number in range(2)
    ]


def finish(process, timeout=240):
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def wait_for_step(workdir, step, process):
    path = workdir / "metrics.jsonl"
    while process.poll() is None:
        if path.exists() and len(path.read_text().splitlines()) >= step:
            return
        time.sleep(0.005)
    raise AssertionError(process.communicate()[0])


def config_of(steps):
    config = toy.get_config().unlock()
    config.train.update({**TRAIN, "steps": steps})
    return config.lock()


def final(workdir):
    template = open_run(config_of(STEPS), workdir).state_template
    with Checkpoints(workdir, read_only=True) as checkpoints:
        state, step = checkpoints.restore(template)
    return jax.device_get(state), step


def undisturbed(workdir, steps):
    """The end of an undisturbed run in a single process: this one."""
    loop.train(open_run(config_of(steps), workdir), lambda *_: 1.0)
    return final(workdir)[0]


def assert_close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        found.params,
        expected.params,
    )


def test_a_killed_and_a_terminated_run_go_on_to_the_same_bits(tmp_path, capsys):
    """The options that XLA dumps with its programs also show that it received its flags."""
    workdir, dumped = tmp_path / "run", tmp_path / "xla"
    killed = start(workdir)
    wait_for_step(workdir, 7, killed)
    killed.kill()
    killed.communicate()
    terminated = start(workdir)
    wait_for_step(workdir, 15, terminated)
    with pytest.raises(SystemExit) as end:  # a second start meanwhile
        session.run(config_of(STEPS), str(workdir), "train")
    refusal = capsys.readouterr().err
    assert end.value.code == 2 and len(refusal.splitlines()) == 1
    assert f"pid {terminated.pid}" in refusal
    terminated.terminate()
    code, output = finish(terminated)
    assert code == 0 and "the same command goes on" in output
    last = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert 15 <= final(workdir)[1] == last["step"] < STEPS
    dump = f"--xla_dump_to={dumped} --xla_dump_hlo_module_re=.*(seed|split|fold_in).*"
    code, output = finish(start(workdir, XLA_FLAGS=f"{os.environ['XLA_FLAGS']} {dump}"))
    assert code == 0, output
    whole = undisturbed(tmp_path / "whole", STEPS)
    jax.tree.map(np.testing.assert_array_equal, final(workdir)[0], whole)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line)["step"] for line in lines]
    assert list(dict.fromkeys(logged)) == list(range(1, STEPS + 1))
    options = [path.read_text() for path in dumped.glob("*.debug_options")]
    assert options and all("xla_gpu_deterministic_ops: true" in text for text in options)


def test_two_processes_train_and_score_as_one(tmp_path):
    for process in start_two(tmp_path / "two", "--config.train.parallel=pmap"):
        code, output = finish(process)
        assert code == 0, output
    state, step = final(tmp_path / "two")
    assert step == STEPS
    assert_close(state, undisturbed(tmp_path / "one", STEPS))
    assert json.loads((tmp_path / "two" / "test.json").read_text())["num_images"] == 24


def test_two_terminated_processes_agree_on_their_step(tmp_path):
    processes = start_two(tmp_path / "two", steps=100_000)
    wait_for_step(tmp_path / "two", 3, processes[0])
    processes[1].send_signal(signal.SIGTERM)
    results = [finish(process) for process in processes]
    assert [code for code, _ in results] == [0, 0], results
    saved = [line for _, output in results for line in output.splitlines() if "saved step" in line]
    state, step = final(tmp_path / "two")
    assert len(saved) == 2 and all(f"saved step {step};" in line for line in saved)
    assert_close(state, undisturbed(tmp_path / "one", step))


def test_an_error_in_one_process_ends_both(tmp_path):
    processes = start_two(tmp_path, steps=100_000, TOY_FAILS="1 at 4")
    wait_for_step(tmp_path, 3, processes[0])
    since = time.monotonic()
    results = [finish(process, timeout=60) for process in processes]
    assert time.monotonic() - since < 30
    assert all(code not in (0, None) for code, _ in results)
    assert "error: the disk is gone" in results[1][1]


def images_in(folder, seed):
    folder.mkdir()
    images = np.random.default_rng(seed).integers(0, 17, (96, 8, 8), np.uint8)
    np.savez(folder / "images.npz", image=images, levels=17)
    return {"HOME": str(folder)}


@pytest.mark.parametrize("what", ["--workdir", "config", "data"])
def test_processes_that_do_not_mean_the_same_refuse_together_at_once(tmp_path, what):
    shared, flags, environment, options = tmp_path / "run", [], {}, {}
    if what == "--workdir":
        options["other"], reason = [f"--workdir={tmp_path / 'other'}"], "not seen by process 1"
    elif what == "config":
        options["other"], reason = ["--config.seed=3"], "another config .*seed: 0 -> 3"
    else:
        flags, reason = ["--config.data.source=npz:~/images.npz"], "another data .*train.image"
        flags += [f"--config.data.{split}_split=" for split in ("train", "validation", "test")]
        environment = images_in(tmp_path / "one", 1)
        options["of_other"] = images_in(tmp_path / "two", 2)
    since = time.monotonic()
    processes = start_two(shared, *flags, **options, **environment)
    results = [finish(process, timeout=120) for process in processes]
    print(f"{what}: refused {time.monotonic() - since:.1f} s after the start")
    for code, output in results:
        assert code == 2 and "Traceback" not in output, output
        assert re.search(f"^error: .*{reason}", output, re.MULTILINE), output
    assert not shared.exists() or not [*shared.iterdir()]
