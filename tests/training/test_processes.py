"""Real processes: several that train as one, and one that is killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import agave
from gm_jax.training.checkpoint import Checkpoints
from gm_jax.training.run import open_run

ROOT = Path(__file__).resolve().parents[2]
STEPS = 24
COMMAND = [
    sys.executable,
    "experiments/main.py",
    "--config=configs/agave.py:smoke",
    f"--config.train.steps={STEPS}",
    "--config.train.checkpoint_every_steps=5",
    "--config.train.evaluate_every_steps=1000",
]


_started = []


@pytest.fixture(autouse=True)
def nothing_left_running():
    yield
    for process in _started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    _started.clear()


def start(workdir, *flags, devices=2, command=COMMAND):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    }
    process = subprocess.Popen(
        [*command, f"--workdir={workdir}", *flags],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    _started.append(process)
    return process


def start_two(workdir, command=COMMAND):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [
        start(workdir, f"--coordinator={address}", "--num_processes=2", f"--process_id={number}",
              devices=1, command=command)
        for number in range(2)
    ]  # fmt: skip


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


def final(workdir):
    template = open_run(agave.get_config("smoke"), workdir).state_template
    with Checkpoints(workdir, read_only=True) as checkpoints:
        state, step = checkpoints.restore(template)
    return jax.device_get(state), step


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The end of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("whole")
    code, output = finish(start(workdir))
    assert code == 0, output
    return final(workdir)[0]


def test_a_killed_run_goes_on_to_the_same_parameters(whole, tmp_path):
    for step in (7, 15):
        process = start(tmp_path)
        wait_for_step(tmp_path, step, process)
        process.kill()
        process.communicate()
    code, output = finish(start(tmp_path))
    assert code == 0, output
    state, step = final(tmp_path)
    assert step == STEPS
    jax.tree.map(np.testing.assert_array_equal, state, whole)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line)["step"] for line in lines]
    assert list(dict.fromkeys(logged)) == list(range(1, STEPS + 1))


def test_a_terminated_run_saves_its_step_and_goes_on(whole, tmp_path):
    process = start(tmp_path)
    wait_for_step(tmp_path, 3, process)
    second, refusal = finish(start(tmp_path))
    assert second == 2 and len(refusal.splitlines()) == 1 and str(process.pid) in refusal
    process.terminate()
    code, output = finish(process)
    assert code == 0 and "the same command goes on" in output
    _, step = final(tmp_path)
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert 3 <= step == last["step"] < STEPS
    assert finish(start(tmp_path))[0] == 0
    jax.tree.map(np.testing.assert_array_equal, final(tmp_path)[0], whole)


@pytest.mark.parametrize("mode", ["shard_map", "pmap"])
def test_two_processes_train_as_one(whole, tmp_path, mode):
    processes = start_two(tmp_path, [*COMMAND, f"--config.train.parallel={mode}"])
    for process in processes:
        code, output = finish(process)
        assert code == 0, output
    state, step = final(tmp_path)
    assert step == STEPS
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        state.params,
        whole.params,
    )
    assert json.loads((tmp_path / "test.json").read_text())["num_images"] == 24


def test_two_terminated_processes_agree_on_their_step(tmp_path):
    long = [*COMMAND, "--config.train.steps=100000"]
    processes = start_two(tmp_path, long)
    wait_for_step(tmp_path, 3, processes[0])
    processes[1].send_signal(signal.SIGTERM)
    results = [finish(process) for process in processes]
    assert [code for code, _ in results] == [0, 0], results
    saved = [line for _, output in results for line in output.splitlines() if "saved step" in line]
    steps = {line.split("saved step ")[1].split(";")[0] for line in saved}
    assert len(saved) == 2 and steps == {str(final(tmp_path)[1])}


def test_an_error_in_one_process_ends_both(tmp_path):
    script = (
        "import sys; sys.path[:0] = ['.', 'experiments']\n"
        "from gm_jax.training import preemption\n"
        "reached = preemption.Preemption.reached\n"
        "def fail(self, step):\n"
        "    import jax\n"
        "    if step == 4 and jax.process_index() == 1: raise OSError('the disk is gone')\n"
        "    return reached(self, step)\n"
        "preemption.Preemption.reached = fail\n"
        "import main; from absl import flags; from gm_jax import command_line\n"
        "command_line.run(main.main)\n"
    )
    command = [sys.executable, "-c", script, *COMMAND[2:], "--config.train.steps=100000"]
    processes = start_two(tmp_path, command)
    wait_for_step(tmp_path, 3, processes[0])
    since = time.monotonic()
    results = [finish(process, timeout=60) for process in processes]
    assert time.monotonic() - since < 30
    assert all(code not in (0, None) for code, _ in results)
    assert "OSError: the disk is gone" in results[1][1]


def test_a_deterministic_run_has_its_flag_in_time_and_repeats_its_bits(tmp_path, monkeypatch):
    """What XLA took from its flags is what it writes beside the programs that it compiles."""
    dumped = tmp_path / "xla"
    dump = f"--xla_dump_to={dumped} --xla_dump_hlo_module_re=.*(seed|split|fold_in).*"
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} {dump}")
    states = []
    for name in "ab":
        run = start(tmp_path / name, "--config.train.steps=2", "--config.train.deterministic=True")
        code, output = finish(run)
        assert code == 0, output
        states.append(final(tmp_path / name)[0])
    jax.tree.map(np.testing.assert_array_equal, *states)
    options = [path.read_text() for path in dumped.glob("*.debug_options")]
    assert options and all("xla_gpu_deterministic_ops: true" in text for text in options)
