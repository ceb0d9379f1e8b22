"""Shared by the programs that measure speed: what a device reaches, and what a train step takes."""

import resource
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gm_jax import state as train_state
from gm_jax.data import fields
from gm_jax.methods.player import in_order
from gm_jax.nn.noise import Noise
from gm_jax.nn.rematerialize import rematerialize


def timed(function: Any, *args: Any) -> tuple[Any, float]:
    """Returns a function's result, once it is computed, and the seconds that it took."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - start


def seconds_in_a_row(function: Any, args: tuple[Any, ...], count: int) -> float:
    """Returns the seconds of a call among `count` that are enqueued before any is awaited.

    So the host's share, which a training hides behind the device's, is hidden here too.
    """
    start = time.perf_counter()
    for _ in range(count):
        result = function(*args)
    jax.block_until_ready(result)
    return (time.perf_counter() - start) / count


def matmul_flops_per_second(dtype: str, precision: str, size: int = 2048, count: int = 1) -> float:
    """Returns the device's rate on one large matrix product, as a yardstick for a step.

    Args:
      dtype: of the factors, which are normal draws (products of zeros can be faster).
      precision: of float32 products, as for `jax.default_matmul_precision`.
      size: rows and columns of both factors.
      count: products that are enqueued together; the fastest of five such rows counts.
    """
    with jax.default_matmul_precision(precision):
        product = jax.jit(jnp.matmul)
        a = jax.random.normal(jax.random.key(0), (size, size)).astype(dtype)
        jax.block_until_ready(product(a, a))
        seconds = min(seconds_in_a_row(product, (a, a), count) for _ in range(5))
    return 2 * size**3 / seconds


def copy_bytes_per_second(num_bytes: int, count: int = 1) -> float:
    """Returns the bytes a second, read and written, of −x for an array of `num_bytes`."""
    negate = jax.jit(jnp.negative)  # a copy as such could be optimised away
    x = jax.random.normal(jax.random.key(0), (num_bytes // 4,))
    jax.block_until_ready(negate(x))
    return 2 * x.nbytes / min(seconds_in_a_row(negate, (x,), count) for _ in range(5))


def first_batch(run: Any) -> Any:
    """Returns a run's first training batch, on its devices."""
    batches = run.training_batches(put=run.parallel.put_training_batch)
    batch = next(batches)
    batches.close()
    return batch


def drawn_state(run: Any) -> Any:
    """Returns a state of small random numbers, where only the speed of a step is wanted.

    Compiling the initialisation takes a good part of what the step takes. What may be a second
    moment or a variance is positive.
    """
    generator = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if not np.issubdtype(leaf.dtype, np.floating):
            return np.full(leaf.shape, -1 if path[0].name == "failures" else 0, leaf.dtype)
        low = -0.1 if path[0].name in ("params", "ema_params") else 0.0
        values = generator.random(leaf.shape, np.float32) * (0.1 - low) + low
        return np.asarray(values, leaf.dtype)

    state = jax.tree_util.tree_map_with_path(draw, run.state_template)
    return jax.device_put(state, run.parallel.replicated)


def compile_step(run: Any, state: Any, batch: Any) -> tuple[Any, float, float]:
    """Compiles a run's train step.

    Returns:
      The compiled step; its FLOP on all devices, as the program asks for them: the compiler's own
      count misses what it hands to a library; and the seconds, including tracing.
    """
    step = run.parallel.train_step(run.method.train_step)
    start = time.perf_counter()
    lowered = step.lower(state, batch, run.keys["train"])
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    return compiled, lowered.cost_analysis()["flops"] * run.parallel.num_devices, seconds


def step_seconds(
    step: Any, state: Any, batch: Any, key: Any, num_steps: int
) -> tuple[Any, list[float]]:
    """Takes train steps on one batch, and awaits each; returns the state and their seconds."""
    seconds = []
    for _ in range(num_steps):
        (state, _), elapsed = timed(step, state, batch, key)
        seconds.append(elapsed)
    return state, seconds


def row_of_steps_seconds(step: Any, state: Any, batch: Any, key: Any, num_steps: int) -> float:
    """Returns the seconds of a train step among several that are awaited together."""
    start = time.perf_counter()
    for _ in range(num_steps):
        state, _ = step(state, batch, key)
    jax.block_until_ready(state)
    return (time.perf_counter() - start) / num_steps


def pipeline_images_per_second(run: Any, num_batches: int = 2_000) -> float:
    """Returns the rate at which batches reach the devices when nothing else runs."""
    batches = run.training_batches(put=run.parallel.put_training_batch)
    jax.block_until_ready(next(batches))
    start = time.perf_counter()
    for _ in range(num_batches):
        batch = next(batches)
    jax.block_until_ready(batch)
    seconds = time.perf_counter() - start
    batches.close()
    return num_batches * run.config.data.batch_size * run.method.batches_per_step / seconds


def peak_memory_bytes() -> int:
    """Returns the device's peak memory, or this process's if the device does not count it."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return statistics.get("peak_bytes_in_use", resident * (1 if sys.platform == "darwin" else 1024))


def memory_plan(run: Any) -> dict[str, float]:
    """Megabytes of a train step on each device, by tracing alone: {what: megabytes}.

    `kept_for_backward` is what differentiation keeps of the forward pass, for the player that keeps
    most: it includes the parameters that a layer multiplies by, and of what `train.rematerialize`
    computes anew only the inputs. XLA may keep less, by computing cheap things twice.
    """
    config, method, state = run.config, run.method, run.state_template
    share = config.data.batch_size // run.parallel.num_devices
    part = share // config.train.accumulate_steps
    batch = {**fields.blanks(method.data, part), "index": np.arange(part, dtype=np.int32)}
    noise = Noise(jax.random.key(0), batch["index"])

    def kept(player: Any) -> float:
        def backward(state: Any) -> Any:
            def terms(params: Any) -> Any:
                variables = train_state.training_variables(state, params)
                return player.loss(variables, batch, noise, 0).terms

            return jax.vjp(terms, {name: state.params[name] for name in player.networks})[1]

        with rematerialize(config.train.rematerialize):
            return _megabytes(jax.eval_shape(backward, state))

    copies = 2 if config.train.accumulate_steps > 1 else 1  # their sum, and those of a part
    return {
        "parameters": _megabytes(state.params),
        "gradients": copies
        * max(
            sum(_megabytes(state.params[name]) for name in player.networks)
            for player in in_order(method.players)
        ),
        "optimizer": _megabytes(state.opt_state),
        "averages_and_statistics": _megabytes((state.ema_params, state.statistics)),
        "kept_for_backward": max(kept(player) for player in in_order(method.players)),
    }


def _megabytes(tree: Any) -> float:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)) / 1e6
