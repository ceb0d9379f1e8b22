"""What a metric of the battery is, and what it gives."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gm_jax.evaluation.context import Context


class Outcome(NamedTuple):
    """values: {name: number}, of which the first has the metric's own name; arrays: {name: array},
    saved in an npz; warning: what a reader of the numbers must know; picture: uint8 [H, W, 1 or 3],
    saved as PNG."""

    values: dict[str, Any]
    arrays: dict[str, np.ndarray] | None = None
    warning: str | None = None
    picture: np.ndarray | None = None


class Metric(NamedTuple):
    """compute: maps a context to an Outcome; identified_by: the parts of `Context.identity` that it
    depends on; by_name: why `--metrics=auto` omits it, or "" if it does not."""

    compute: Callable[[Context], Outcome]
    identified_by: tuple[str, ...]
    by_name: str = ""
