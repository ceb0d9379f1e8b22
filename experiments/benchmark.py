"""Measures a config's train step and its data pipeline; prints a table and writes JSON.

    python experiments/benchmark.py --config=configs/agave.py[:VARIANT] [--num_steps=50] [--plan]

`--plan` prints the memory that a step needs, in megabytes, and compiles nothing: it tells whether a
published size fits a device that is not at hand.
Timings on a shared machine are noisy: compare ratios within one run.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # runs from any folder

from gm_jax import command_line

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, FILE.py[:VARIANT].")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 50, "Train steps to time.", lower_bound=2)
_START = flags.DEFINE_bool("start", True, "Whether to also time the command from its start.")
_PLAN = flags.DEFINE_bool("plan", False, "Only plan the memory of a step, which runs nothing.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write; none by default.")


def start_seconds() -> dict[str, float]:
    """Starts the training command twice, as a user would, and waits for its first logged step.

    Call it before JAX occupies the devices in this process.

    Returns:
      {cold, warm}: seconds from the command to its first line of metrics.jsonl, with an empty and
      with a filled compilation cache.
    """
    given = flags.FLAGS["config"]
    command = [sys.executable, str(Path(__file__).with_name("main.py"))]
    command.append(f"--config={given.config_filename}")
    command += [f"--config.{name}={value}" for name, value in given.override_values.items()]
    command.append("--config.train.log_every_steps=1")
    seconds = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
        for name in ("cold", "warm"):
            with tempfile.TemporaryDirectory() as folder:
                seconds[name] = _seconds_to_first_line(command, environment, Path(folder))
    return seconds


def _seconds_to_first_line(command: list[str], environment: dict, folder: Path) -> float:
    output, metrics = folder / "output", folder / "run" / "metrics.jsonl"
    start = time.perf_counter()
    with output.open("w") as file:
        process = subprocess.Popen(
            [*command, f"--workdir={metrics.parent}"], env=environment, stdout=file, stderr=file
        )
    try:
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended early:\n{output.read_text()}")
            time.sleep(0.01)
        return time.perf_counter() - start
    finally:
        process.kill()
        process.wait()


def compile_seconds(run: Any, state: Any, batch: Any) -> tuple[Any, float, dict[str, float]]:
    """Compiles the train step with an empty and with a filled compilation cache.

    Returns:
      The compiled step and its FLOP, from `measuring.compile_step`, and {cold, warm} in seconds.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    from experiments import measuring

    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        for name in ("cold", "warm"):
            compilation_cache.reset_cache()
            jax.clear_caches()
            compiled, flops, seconds[name] = measuring.compile_step(run, state, batch)
        compilation_cache.reset_cache()
        jax.config.update("jax_compilation_cache_dir", None)
    return compiled, flops, seconds


def measure(config: Any, num_steps: int) -> dict[str, Any]:
    """Measures a config on the available devices."""
    starts = start_seconds() if _START.value else {}
    import jax

    from experiments import measuring
    from gm_jax import cpu
    from gm_jax.methods.method import matmul
    from gm_jax.training.progress import working
    from gm_jax.training.run import open_run

    cpu.keep_buffers()
    label = f"measuring {config.method}, {config.variant}"
    with working(label), tempfile.TemporaryDirectory() as workdir:
        run = open_run(config, workdir)
        images_per_step = config.data.batch_size * run.method.batches_per_step
        state, init_seconds = measuring.timed(run.initial_state)
        batch = measuring.first_batch(run)
        step, flops, compiles = compile_seconds(run, state, batch)
        _, several = measuring.step_seconds(step, state, batch, run.keys["train"], num_steps)
        seconds = sorted(several)[num_steps // 2]
        pipeline = measuring.pipeline_images_per_second(run)
    yardstick = measuring.matmul_flops_per_second(*matmul(config)) * run.parallel.num_devices
    return {
        "config": f"{config.method}:{config.variant}",
        "device": f"{run.parallel.num_devices} × {jax.devices()[0].device_kind}",
        "parallel": config.train.parallel,
        "matmul_dtype": config.model.matmul_dtype,
        "batch_size": config.data.batch_size,
        **{f"start_to_first_step_{name}_seconds": value for name, value in starts.items()},
        "initialisation_seconds": init_seconds,
        "compile_cold_seconds": compiles["cold"],
        "compile_warm_seconds": compiles["warm"],
        "step_milliseconds": 1e3 * seconds,
        "images_per_second": images_per_step / seconds,
        "gflop_per_step": flops / 1e9,
        "gflop_per_second": flops / seconds / 1e9,
        "share_of_matrix_product_speed": flops / seconds / yardstick,
        "pipeline_images_per_second": pipeline,
        "pipeline_over_step": pipeline * seconds / images_per_step,
        # What the step needs besides its arguments, according to the compiler.
        "step_memory_megabytes": step.memory_analysis().temp_size_in_bytes / 1e6,
        "peak_memory_megabytes": measuring.peak_memory_bytes() / 1e6,
    }


def plan(config: Any) -> dict[str, Any]:
    """The memory of a config's train step."""
    from experiments import measuring
    from gm_jax.training.run import open_run

    with tempfile.TemporaryDirectory() as workdir:
        run = open_run(config, workdir)
        megabytes = measuring.memory_plan(run)
    return {
        "config": f"{config.method}:{config.variant}",
        "batch_size": config.data.batch_size,
        "devices": run.parallel.num_devices,
        **{f"{name}_megabytes": value for name, value in megabytes.items()},
    }


def main(_: list[str]) -> None:
    """Prints the measurements."""
    with command_line.refusals():
        config = _CONFIG.value
        result = plan(config) if _PLAN.value else measure(config, _NUM_STEPS.value)
    for name, value in result.items():
        print(f"| {name} | {f'{value:.4g}' if isinstance(value, float) else value} |")
    print(json.dumps(result))
    if _OUTPUT.value:
        with open(_OUTPUT.value, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    command_line.run(main)
