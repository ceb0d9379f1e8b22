"""Functions of examples, called batch by batch on all devices; what they return, put together."""

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
    """Calls a function on every example of a data set once, in batches of one shape.

    Where a second domain is longer than the first, its examples beyond the first's are left out.

    Args:
      dataset: at least one example.
      function: this process's share of a batch of `data.evaluation_batches` -> a tree of arrays
        [batch_size, ...] of the whole batch.
      batch_size: of a global batch; the last one is padded.
      label: of the progress bar.

    Returns:
      The tree, its arrays [N, ...] in the order of the data set.
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
    """Calls a function on every row of a tree of arrays [N, ...], for example of latents.

    Args:
      arrays: of the host.
      function: {'rows': this process's share of a batch, 'index'} -> a tree of [batch_size, ...].
      batch_size: of a global batch; the last one is filled up with the last row.
      index: int32 [N], keys the noise of each row.

    Returns:
      The tree, its arrays [N, ...].
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
    """Joins the trees of batches along their first axis and cuts off what the last one pads."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[:count], *parts)
