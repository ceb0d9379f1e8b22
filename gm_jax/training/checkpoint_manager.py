"""Orbax's checkpoint manager, made quiet, which keeps the latest two checkpoints and the best."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import orbax.checkpoint as ocp
from etils import epath
from grain import checkpoint as grain_checkpoint
from orbax.checkpoint import checkpoint_managers

Result = TypeVar("Result")


def _quieten(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname or logging.getLogger("absl").isEnabledFor(logging.DEBUG)


# Orbax logs dozens of lines per save, from several threads, and every error that it raises, once
# per thread that it passes through. A filter, unlike a verbosity, survives `absl.app.run` and does
# not affect other messages. `--verbosity=1` shows them.
logging.getLogger("absl").addFilter(_quieten)


def validation(metrics: dict[str, float]) -> float:
    """The score that selects the best checkpoint, lower is better (bits/dim)."""
    return metrics["validation"]


def open_manager(folder: epath.Path, read_only: bool) -> ocp.CheckpointManager:
    """Opens a folder of checkpoints with the items `state`, `checksums` and `data`.

    Args:
      folder: created if it is missing, unless `read_only`.
      read_only: makes, deletes and saves nothing; otherwise removes the remains of a killed save.

    Returns:
      A manager that keeps the latest two and the one with the lowest `metrics['validation']`.
    """
    best = checkpoint_managers.BestN(
        get_metric_fn=validation,
        reverse=True,  # it keeps the end of the list, the lowest if descending
        n=1,
        keep_checkpoints_without_metrics=False,
    )
    latest = checkpoint_managers.LatestN(2)
    options = ocp.CheckpointManagerOptions(
        best_fn=validation,
        best_mode="min",
        preservation_policy=checkpoint_managers.AnyPreservationPolicy([latest, best]),
        create=not read_only,
        cleanup_tmp_directories=not read_only,
        read_only=read_only,
        save_interval_steps=0 if read_only else 1,
    )
    # Handlers are named because a manager that has saved nothing yet needs this to read metadata.
    handlers = {
        "state": ocp.StandardCheckpointHandler(),
        "data": grain_checkpoint.CheckpointHandler(),
        "checksums": ocp.JsonCheckpointHandler(),
    }
    return patiently(lambda: _Manager(folder, options=options, item_handlers=handlers))


def patiently(look: Callable[[], Result]) -> Result:
    """Looks again if a live run deleted a checkpoint between its listing and its reading."""
    for _ in range(20):
        try:
            return look()
        except FileNotFoundError:
            time.sleep(0.05)
    return look()


@contextlib.contextmanager
def without_stragglers() -> Iterator[None]:
    """Silences the tracebacks that a failing read leaves behind.

    Orbax closes its event loop at the first error; every array still being read then prints 'Event
    loop is closed' from a thread of tensorstore, which would bury the one warning that matters.
    They come late, so the filter stays after a failed read.
    """
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    sys.unraisablehook = hook
    yield
    sys.unraisablehook = before


class _Manager(ocp.CheckpointManager):
    """Orbax's manager, but a damaged metrics file means a checkpoint without metrics."""

    def metrics(self, step: int) -> dict[str, float] | None:
        try:
            metrics = super().metrics(step)
            return {"validation": float(metrics["validation"])} if metrics else None
        except (ValueError, KeyError, TypeError):
            return None
