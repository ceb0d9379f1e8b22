"""Encodes examples to latents, draws examples given latents, and interpolates between them."""

import functools
from typing import Any

import jax
import numpy as np

from gm_jax import data, ranges
from gm_jax.evaluation.batches import over_images, over_rows
from gm_jax.methods.method import Method
from gm_jax.nn.noise import Noise, keyed
from gm_jax.training.run import Run

Tree = Any
Variables = dict[str, Any]


def encode(run: Run, variables: Variables, dataset: data.Dataset, seed: int = 0) -> Tree:
    """Draws every example's latents from the posterior: a tree of float32 [N, ...]."""
    program, key = run.program("encode", keyed(run.method.encode)), _key(run, seed, 0)
    return over_images(
        dataset,
        lambda batch: program(variables, batch, key),
        run.config.evaluate.batch_size,
        "encoding",
    )


def decode(
    run: Run,
    variables: Variables,
    latents: Tree,
    index: np.ndarray,
    labels: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Draws images (or points) given latents.

    Args:
      run: the run.
      variables: from `state.evaluation_variables`.
      latents: tree of [N, ...], as `encode` returns it.
      index: int [N], the numbers that key the examples' noise.
      labels: int32 [N], for class-conditional methods.
      seed: seeds the draws given the latents.

    Returns:
      {name: [N, ...]} from the method's `decode`.

    Raises:
      ValueError: the method's `check_latents` refuses them.
    """
    run.method.check_latents(latents)
    rows = {"latents": latents} if labels is None else {"latents": latents, "labels": labels}
    name = "decode" if labels is None else "decode with labels"
    program = run.program(name, keyed(functools.partial(_decode, run.method)))
    draw = functools.partial(program, variables, key=_key(run, seed, 1))
    return over_rows(rows, draw, run.config.sample.batch_size, index.astype(np.int32))


def resample(
    run: Run, variables: Variables, dataset: data.Dataset, level: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Keeps the first `level` layers of every image's latents, and draws the rest and the image."""

    def draw(variables: Variables, batch: Any, noise: Noise) -> dict[str, jax.Array]:
        return run.method.resample(variables, batch, noise, level)

    program, key = run.program(f"resample {level}", keyed(draw)), _key(run, seed, 0)
    return over_images(
        dataset,
        lambda batch: program(variables, batch, key),
        run.config.sample.batch_size,
        "resampling",
    )


def interpolate(
    run: Run, variables: Variables, ends: data.Dataset, num_steps: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Decodes latents on the path from one example's latents to another's.

    The method's `interpolate` defines the path. Every step has the same noise and the label of the
    first end, so that only the latents change.

    Args:
      run: the run.
      variables: from `state.evaluation_variables`.
      ends: two examples.
      num_steps: number of examples on the path, including both ends; at least 2.
      seed: seeds the latents and the draws given them.

    Returns:
      {name: [num_steps, ...]} from the method's `decode`.
    """
    latents = encode(run, variables, ends, seed)
    start, end = (jax.tree.map(lambda z, i=i: z[i : i + 1], latents) for i in range(2))
    weights = np.linspace(0, 1, num_steps, dtype=np.float32)
    labels = None
    if run.method.class_conditional and ends.labels is not None:
        labels = np.full(num_steps, ends.labels[0])
    way = run.method.interpolate(start, end, weights)
    return decode(run, variables, way, np.zeros(num_steps), labels, seed)


def latent_key(key: jax.Array, seed: int | jax.Array, use: int) -> jax.Array:
    """From a run's key `reconstruct`, that for latents (use 0) or for draws given them (use 1)."""
    return jax.random.split(jax.random.fold_in(key, seed))[use]


def _key(run: Run, seed: int, use: int) -> jax.Array:
    return latent_key(run.keys["reconstruct"], ranges.checked_seed(seed), use)


def _decode(method: Method, variables: Tree, batch: Tree, noise: Noise) -> dict[str, jax.Array]:
    return method.decode(variables, noise=noise, **batch["rows"])
