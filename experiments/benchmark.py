"""Measures a config's train step and its data pipeline; prints a table and writes JSON.

    python experiments/benchmark.py --config=configs/agave.py[:VARIANT] [--num_steps=50]

Timings on a shared machine are noisy: compare ratios within one run.
"""

import json
import os
import resource
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


def timed(function: Any, *args: Any) -> tuple[Any, float]:
    """Returns a function's result, once it is computed, and the seconds that it took."""
    import jax

    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - start


def compile_seconds(run: Any, state: Any, batch: Any) -> tuple[Any, dict[str, float]]:
    """Compiles the train step with an empty and with a filled compilation cache.

    Returns:
      The compiled step, and {cold, warm} in seconds, including tracing.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        for name in ("cold", "warm"):
            compilation_cache.reset_cache()
            jax.clear_caches()
            step = run.parallel.train_step(run.method.train_step)
            start = time.perf_counter()
            compiled = step.lower(state, batch, run.keys["train"]).compile()
            seconds[name] = time.perf_counter() - start
        compilation_cache.reset_cache()
        jax.config.update("jax_compilation_cache_dir", None)
    return compiled, seconds


def step_seconds(step: Any, state: Any, batch: Any, key: Any, num_steps: int) -> float:
    """Returns the median seconds of a compiled train step on one batch."""
    seconds = []
    for _ in range(num_steps):
        (state, _), elapsed = timed(step, state, batch, key)
        seconds.append(elapsed)
    return sorted(seconds)[num_steps // 2]


def pipeline_images_per_second(run: Any, num_batches: int = 2_000) -> float:
    """Returns the rate at which batches reach the devices when nothing else runs."""
    import jax

    from gm_jax import data

    batches = data.training_batches(
        run.train_data,
        batch_size=run.config.data.batch_size,
        seed=run.config.seed,
        flip=run.config.data.flip,
        batches_per_step=run.method.batches_per_step,
        put=run.parallel.put_training_batch,
    )
    jax.block_until_ready(next(batches))
    start = time.perf_counter()
    for _ in range(num_batches):
        batch = next(batches)
    jax.block_until_ready(batch)
    seconds = time.perf_counter() - start
    batches.close()
    return num_batches * run.config.data.batch_size * run.method.batches_per_step / seconds


def matmul_flops_per_second(dtype: str, size: int = 2048) -> float:
    """Returns the device's rate on one large matrix product, as a yardstick for a step."""
    import jax
    import jax.numpy as jnp

    product = jax.jit(jnp.matmul)
    a = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
    jax.block_until_ready(product(a, a))
    seconds = min(timed(product, a, a)[1] for _ in range(5))
    return 2 * size**3 / seconds


def peak_memory_bytes() -> int:
    """Returns the device's peak memory, or this process's if the device does not count it."""
    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return statistics.get("peak_bytes_in_use", resident * (1 if sys.platform == "darwin" else 1024))


def measure(config: Any, num_steps: int) -> dict[str, Any]:
    """Measures a config on the available devices."""
    starts = start_seconds() if _START.value else {}
    import jax

    from gm_jax import cpu, data
    from gm_jax.training.run import open_run

    cpu.keep_buffers()
    with tempfile.TemporaryDirectory() as workdir:
        run = open_run(config, workdir)
        images_per_step = config.data.batch_size * run.method.batches_per_step
        state, init_seconds = timed(run.initial_state)
        given = data.training_batches(
            run.train_data,
            batch_size=config.data.batch_size,
            batches_per_step=run.method.batches_per_step,
            seed=0,
            put=run.parallel.put_training_batch,
        )
        batch = next(given)
        given.close()
        step, compiles = compile_seconds(run, state, batch)
        seconds = step_seconds(step, state, batch, run.keys["train"], num_steps)
        pipeline = pipeline_images_per_second(run)
    # The compiler counts the work of one device.
    flops = step.cost_analysis()["flops"] * run.parallel.num_devices
    dtype = config.model.matmul_dtype
    yardstick = matmul_flops_per_second(dtype) * run.parallel.num_devices
    return {
        "config": f"{config.method}:{config.variant}",
        "device": f"{run.parallel.num_devices} × {jax.devices()[0].device_kind}",
        "parallel": config.train.parallel,
        "matmul_dtype": dtype,
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
        "peak_memory_megabytes": peak_memory_bytes() / 1e6,
    }


def main(_: list[str]) -> None:
    """Prints the measurements."""
    with command_line.refusals():
        result = measure(_CONFIG.value, _NUM_STEPS.value)
    for name, value in result.items():
        print(f"| {name} | {f'{value:.4g}' if isinstance(value, float) else value} |")
    print(json.dumps(result))
    if _OUTPUT.value:
        with open(_OUTPUT.value, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    command_line.run(main)
