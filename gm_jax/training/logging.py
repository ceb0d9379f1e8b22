"""What a run logs while it trains: metrics.jsonl and TensorBoard."""

import contextlib
import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self, TextIO

import numpy as np
from etils import epath

from gm_jax.borders import writing
from gm_jax.training import workdir as workdirs
from gm_jax.training.tensorboard import Board

# A bucket accepts about one write per second and object, and each write replaces the whole file.
_REMOTE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class MetricWriter:
    """Writes scalars to metrics.jsonl and TensorBoard, and images to TensorBoard.

    A line of metrics.jsonl is {"step": ..., name: value, ...}; a value that is not finite becomes
    null, since JSON cannot express it. A line is handed to the operating system before `scalars`
    returns, so that a killed run loses none. A bucket cannot append, so there the file is rewritten
    every ten seconds and by `close`.
    """

    def __init__(self, workdir: epath.PathLike, *, enabled: bool = True):
        """Writes nothing yet.

        Args:
          workdir: the work directory, created if it is missing.
          enabled: False (for a run's other processes) makes every method do nothing.
        """
        self._enabled = enabled
        self._folder = workdirs.absolute(workdir)
        self._path = self._folder / "metrics.jsonl"
        self._remote = workdirs.is_remote(self._folder)
        self._file: TextIO | None = None
        self._remote_lines: list[str] | None = None
        self._remote_written = -math.inf
        self._tensorboard: Board | Literal[False] | None = None
        self._purge_step: int | None = None

    def truncate(self, step: int, validated: bool = True) -> None:
        """Removes what was logged after a step; call it before anything is written.

        It also removes half-written lines, and tells TensorBoard to hide the later events.

        Args:
          step: the restored step, 0 for a start from scratch.
          validated: whether validation has scored the step; if not, a killed validation may have
            left its line, which the next one writes again.
        """
        if not self._enabled:
            return
        if self._file is not None or self._tensorboard is not None:
            raise ValueError("truncate must come before the first scalars or image")
        kept = [
            line
            for line, at in _complete_lines(self._path)
            if at < step or (at == step and (validated or not _is_validation(line)))
        ]
        if self._path.exists():
            workdirs.write_atomically(self._path, "".join(kept))
        self._remote_lines = kept if self._remote else None
        self._purge_step = step + 1

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Logs scalars of a step.

        Args:
          step: the training step that they belong to.
          values: name -> number, or an array of one number.
        """
        if not self._enabled:
            return
        numbers = {name: float(value) for name, value in values.items()}
        self._write(workdirs.dumps({"step": int(step)} | numbers) + "\n")
        for name, value in numbers.items():
            if math.isfinite(value):
                self._show(functools.partial(Board.scalar, name=name, value=value, step=step))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Logs an image to TensorBoard.

        Args:
          step: the training step that it belongs to.
          name: its name.
          image: uint8 [H, W, C], C of 1 or 3, in 0..255.

        Raises:
          ValueError: it is not such an array.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
            raise ValueError(
                f"image {name!r} is {image.dtype}{list(image.shape)}: give uint8 [H, W, 1 or 3]"
            )
        if self._enabled:
            self._show(lambda board: board.image(name, image, step))

    def close(self) -> None:
        """Writes what remains and closes the files."""
        if self._remote_lines is not None:
            self._path.write_text("".join(self._remote_lines))
        if self._file is not None:
            self._file.close()
        if self._tensorboard:
            self._show(Board.close)
        self._enabled = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: str) -> None:
        if self._remote:
            self._write_remote(line)
            return
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = open(os.fspath(self._path), "a", encoding="utf-8")  # noqa: SIM115
        with writing(self._path):
            self._file.write(line)
            self._file.flush()

    def _write_remote(self, line: str) -> None:
        if self._remote_lines is None:
            self._remote_lines = [line for line, _ in _complete_lines(self._path)]
        self._remote_lines.append(line)
        if time.monotonic() - self._remote_written > _REMOTE_SECONDS:
            self._path.write_text("".join(self._remote_lines))
            self._remote_written = time.monotonic()

    def _show(self, show: Callable[[Board], None]) -> None:
        """Writes to TensorBoard, which ends with a warning if it cannot be written."""
        if self._tensorboard is False:
            return
        try:
            if self._tensorboard is None:
                self._tensorboard = Board(self._folder / "tensorboard", self._purge_step)
            show(self._tensorboard)
        except (ImportError, OSError) as error:  # a bucket needs its own client library
            _log.warning("no TensorBoard files in %s: %s", self._folder, error)
            if self._tensorboard:
                with contextlib.suppress(OSError):
                    self._tensorboard.close()
            self._tensorboard = False


def _is_validation(line: str) -> bool:
    return any(name.startswith("validation/") for name in json.loads(line))


def _complete_lines(path: epath.Path) -> list[tuple[str, int]]:
    """The complete lines of a metrics.jsonl, each with its step, without a half-written one."""
    lines = []
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    for line in text.splitlines(keepends=True):
        try:
            if line.endswith("\n"):
                lines.append((line, int(json.loads(line)["step"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return lines
