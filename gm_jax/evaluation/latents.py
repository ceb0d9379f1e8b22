"""Latents of examples, what is drawn given latents, and the ways between them."""

import functools
from typing import Any

import jax
import numpy as np

from gm_jax import data
from gm_jax.evaluation.batches import over_images, over_rows
from gm_jax.methods.method import Method
from gm_jax.nn.noise import Noise, keyed
from gm_jax.training.run import Run

Tree = Any
Variables = dict[str, Any]


def encode(run: Run, variables: Variables, dataset: data.Dataset, seed: int = 0) -> Tree:
    """Draws latents of every example from the posterior: a tree of float32 [N, ...]."""
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
      variables: of `state.evaluation_variables`.
      latents: tree of [N, ...], as `encode` gives it.
      index: int [N], keys the noise of each.
      labels: int32 [N], for methods that take classes.
      seed: of what is drawn given the latents.

    Returns:
      {name: [N, ...]} of the method's `decode`.
    """
    rows = {"latents": latents} if labels is None else {"latents": latents, "labels": labels}
    name = "decode" if labels is None else "decode with labels"
    program = run.program(name, keyed(functools.partial(_decode, run.method)))
    draw = functools.partial(program, variables, key=_key(run, seed, 1))
    return over_rows(rows, draw, run.config.sample.batch_size, index.astype(np.int32))


def interpolate(
    run: Run, variables: Variables, ends: data.Dataset, num_steps: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Decodes latents on the way from one example's to another's.

    The way is the method's `interpolate`. Every step has the same noise, so that what changes is
    the latents alone, and the label of the first end.

    Args:
      run: the run.
      variables: of `state.evaluation_variables`.
      ends: two examples.
      num_steps: on the way, both ends among them; at least 2.
      seed: of the latents and of what is drawn given them.

    Returns:
      {name: [num_steps, ...]} of the method's `decode`.
    """
    latents = encode(run, variables, ends, seed)
    start, end = (jax.tree.map(lambda z, i=i: z[i : i + 1], latents) for i in range(2))
    weights = np.linspace(0, 1, num_steps, dtype=np.float32)
    labels = None
    if run.method.class_conditional and ends.labels is not None:
        labels = np.full(num_steps, ends.labels[0])
    way = run.method.interpolate(start, end, weights)
    return decode(run, variables, way, np.zeros(num_steps), labels, seed)


def _key(run: Run, seed: int, use: int) -> jax.Array:
    """The key of latents (use 0) or of what is drawn given them (use 1)."""
    return jax.random.split(jax.random.fold_in(run.keys["reconstruct"], seed))[use]


def _decode(method: Method, variables: Tree, batch: Tree, noise: Noise) -> dict[str, jax.Array]:
    return method.decode(variables, noise=noise, **batch["rows"])
