"""Calls functions of examples batch by batch on all devices, and joins their results."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gm_jax import data
from gm_jax.training.progress import progress

Tree = Any
Batch = dict[str, Any]


def over_images(
    dataset: data.Dataset,
    function: Callable[[Batch], Tree],
    batch_size: int,
    label: str,
) -> Tree:
    """Calls a function once on every example of a data set, in batches of the same shape.

    If a second domain is longer than the first, its excess examples are left out.

    Args:
      dataset: has at least one example.
      function: maps this process's share of a batch from `data.evaluation_batches` to a tree of
        arrays [batch_size, ...] for the whole batch.
      batch_size: size of a global batch; the last one is padded.
      label: label of the progress bar.

    Returns:
      The tree, with arrays [N, ...] in the order of the data set.
    """
    batches = data.evaluation_batches(
        dataset,
        batch_size=batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    parts, count = [], dataset.lengths[""]
    with progress(label, count, " images") as bar:
        for batch in itertools.islice(batches, -(-count // batch_size)):
            parts.append(function(batch))
            bar.update(min(batch_size, count - bar.n))
    return put_together(parts, count)


def over_rows(
    arrays: Tree, function: Callable[[Batch], Tree], batch_size: int, index: np.ndarray
) -> Tree:
    """Calls a function on every row of a tree of arrays [N, ...], such as latents.

    Args:
      arrays: the tree, on the host.
      function: {'rows': this process's share of a batch, 'index'} -> a tree of [batch_size, ...].
      batch_size: size of a global batch; copies of the last row fill the last batch.
      index: int32 [N], the numbers that key the rows' noise.

    Returns:
      The tree, with arrays [N, ...].
    """
    count, share = len(index), batch_size // jax.process_count()
    parts = []
    for start in range(0, count, batch_size):
        first = start + jax.process_index() * share
        rows = np.minimum(np.arange(first, first + share), count - 1)
        batch = {"rows": jax.tree.map(lambda array, rows=rows: np.asarray(array)[rows], arrays)}
        parts.append(function({**batch, "index": index[rows]}))
    return put_together(parts, count)


def put_together(parts: list[Tree], count: int) -> Tree:
    """Joins the batches' trees along their first axis and cuts off the padding of the last one."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:count], *parts)
