"""The scripts that start runs on clusters, with stand-ins for the commands of the cluster."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "experiments" / "launch"
# Programs of a SLURM cluster of two nodes, and the command, which runs until it is told to end.
PROGRAMS = {
    "scontrol": 'if [ "$1" = show ]; then printf "node7\\nnode8\\n"; else echo "$@" >> did; fi',
    "srun": 'shift; for SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@" & done; wait; exit $CODE',
    "scancel": 'echo "$@" >> did; touch ended',
    "python": 'echo "$@" >> started; for _ in {1..500}; do [ -e ended ] && exit; sleep .02; done',
}


@pytest.fixture
def submit(tmp_path):
    """Starts a job, whose processes end with the given status."""
    for name, body in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)

    def start(code=0):
        names = {
            "JOB_ID": "30001",
            "NTASKS": "2",
            "SUBMIT_DIR": tmp_path,
            "JOB_NODELIST": "node[7-8]",
        }
        slurm = {f"SLURM_{name}": str(value) for name, value in names.items()}
        path = f"{tmp_path}:{os.environ['PATH']}"
        script = [LAUNCH / "slurm.sh", "--config=configs/agave.py", "--workdir=my runs/a"]
        job = subprocess.Popen(script, env={**os.environ, **slurm, "PATH": path, "CODE": str(code)})
        while len(lines(tmp_path / "started")) < 2 and job.poll() is None:
            time.sleep(0.01)
        return job

    return start


def lines(path):
    return sorted(path.read_text().splitlines()) if path.exists() else []


def test_processes_of_a_slurm_job_share_an_address_and_are_numbered(submit, tmp_path):
    job = submit()
    (tmp_path / "ended").touch()
    assert job.wait() == 0
    command = "experiments/main.py --config=configs/agave.py --workdir=my runs/a"
    joined = f"{command} --coordinator=node7:20001 --num_processes=2 --process_id="
    assert lines(tmp_path / "started") == [f"{joined}0", f"{joined}1"]
    assert lines(tmp_path / "did") == []  # a finished job is not queued again


@pytest.mark.parametrize(("code", "queued"), [(0, ["requeue 30001"]), (2, [])])
def test_a_slurm_job_near_its_limit_saves_and_is_queued_again_unless_it_failed(
    submit, tmp_path, code, queued
):
    job = submit(code)
    job.send_signal(signal.SIGTERM)
    assert job.wait() == code
    assert lines(tmp_path / "did") == ["--signal=TERM 30001", *queued]


def test_a_run_on_a_pod_gets_its_flags_and_is_stopped_by_its_process(tmp_path):
    python = "trap 'touch ended; exit' TERM; printf '%s|' \"$@\" > got; while :; do sleep .02; done"
    programs = {"gcloud": 'cd "$HOME"; exec bash -c "${!##--command=}"', ".venv/bin/python": python}
    for name, body in programs.items():
        path = tmp_path / "gm_jax" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{body}\n")
        path.chmod(0o755)
    pod = {"TPU": "pod", "ZONE": "zone", "BUCKET": "gs://b", "HOME": str(tmp_path)}
    environment = {**os.environ, **pod, "PATH": f"{tmp_path / 'gm_jax'}:{os.environ['PATH']}"}
    flag = "--config.data.train_split=train[:90%]"
    for command in (["start", "run", flag, "--config.data.source=npz:my file"], ["stop", "run"]):
        subprocess.run([LAUNCH / "tpu_pod.sh", *command], env=environment, check=True)
        wanted = tmp_path / "gm_jax" / ("got" if command[0] == "start" else "ended")
        for _ in range(500):
            time.sleep(0 if wanted.exists() else 0.02)
        assert wanted.exists()
    got = (tmp_path / "gm_jax" / "got").read_text().split("|")[:-1]
    assert got == [
        "experiments/main.py",
        "--workdir=gs://b/run",
        flag,
        "--config.data.source=npz:my file",
    ]


@pytest.mark.parametrize("name", ["tpu_pod.sh", "xpk.sh"])
def test_the_usage_names_what_a_script_can_do(name):
    needed = dict.fromkeys(("TPU", "ZONE", "BUCKET", "PROJECT", "CLUSTER"), "x")
    script, environment = LAUNCH / name, {**os.environ, **needed}
    said = subprocess.run([script], env=environment, capture_output=True, text=True)
    (usage,) = (line for line in said.stderr.splitlines() if f"experiments/launch/{name}" in line)
    actions = [action.split()[0] for action in usage.partition(name)[2].split("|")]
    assert said.returncode == 2
    assert actions == re.findall(r"(?m)^  (\w+)\)", script.read_text())


@pytest.mark.parametrize("script", sorted(LAUNCH.glob("*.sh")), ids=lambda script: script.name)
def test_a_script_is_executable_and_has_no_error_of_syntax(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
