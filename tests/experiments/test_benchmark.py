"""The programs that measure: what they print is a number for every name."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {"config", "device", "parallel", "matmul_dtype"}


def run(program, *flags):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    }
    return subprocess.run(
        [sys.executable, f"experiments/{program}.py", *flags],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "result.json"
    done = run(
        "benchmark",
        "--config=configs/pixelcnn.py:smoke",
        "--num_steps=2",
        f"--output={path}",
        "--config.data.batch_size=8",
        "--config.model.pixelcnn.num_scales=1",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text()), done.stdout


def test_a_benchmark_is_of_the_config_given_and_its_numbers_are_positive(measured):
    result, output = measured
    assert (result["config"], result["batch_size"]) == ("pixelcnn:smoke", 8)
    numbers = {name: value for name, value in result.items() if name not in TEXTS}
    assert len(numbers) >= 15
    assert all(math.isfinite(value) and value > 0 for value in numbers.values()), numbers
    assert json.loads(output.splitlines()[-1]) == result
    assert all(f"| {name} | " in output for name in result)


def test_a_benchmarks_numbers_fit_each_other(measured):
    result, _ = measured
    seconds = result["step_milliseconds"] / 1e3
    assert math.isclose(result["images_per_second"], 8 / seconds, rel_tol=1e-6)
    assert math.isclose(
        result["gflop_per_second"], result["gflop_per_step"] / seconds, rel_tol=1e-6
    )
    # A start holds the compilation of its step.
    cold, warm = (result[f"start_to_first_step_{name}_seconds"] for name in ("cold", "warm"))
    assert cold > warm > result["step_milliseconds"] / 1e3


def test_the_memory_of_a_step_is_planned_for_several_players_and_less_in_parts():
    plans = []
    for parts in (1, 2):
        done = run(
            "benchmark",
            "--plan",
            "--config=configs/lsgan.py:smoke",
            "--config.data.batch_size=16",
            f"--config.train.accumulate_steps={parts}",
        )
        assert done.returncode == 0, done.stderr
        plans.append(json.loads(done.stdout.splitlines()[-1]))
    whole, parts = plans
    assert whole["parameters_megabytes"] > whole["gradients_megabytes"] > 0
    assert parts["gradients_megabytes"] == 2 * whole["gradients_megabytes"]
    assert parts["kept_for_backward_megabytes"] < whole["kept_for_backward_megabytes"]


def test_a_start_that_fails_says_why():
    done = run("benchmark", "--config=configs/pixelcnn.py:smoke", "--config.data.batch_size=72")
    assert done.returncode == 1 and "only 64 examples" in done.stderr


def test_baselines_are_a_row_a_code():
    done = run("baselines", "--source=digits")
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"\| (.+) \| ([\d.]+) bits/dim \|", done.stdout)
    assert [name for name, _ in rows] == ["histogram a pixel", "PNG", "xz"]
    assert all(0 < float(bits) < 8 for _, bits in rows)
    # 17 levels cost less than log2 17 bits under a histogram that knows anything.
    assert float(rows[0][1]) < math.log2(17)
