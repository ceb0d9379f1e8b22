"""What a run logs while it trains: metrics.jsonl, TensorBoard and Weights & Biases."""

import contextlib
import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Self, TextIO

import numpy as np
from etils import epath

from gm_jax.borders import writing
from gm_jax.training import workdir as workdirs
from gm_jax.training.tensorboard import Board
from gm_jax.training.wandb_board import WandbBoard, check_library

# A bucket accepts about one write per second and object, and each write replaces the whole file.
_REMOTE_SECONDS = 10.0

_log = logging.getLogger(__name__)


class MetricWriter:
    """Writes scalars to metrics.jsonl, and scalars and images to TensorBoard and W&B.

    A line of metrics.jsonl is {"step": ..., name: value, ...}; a value that is not finite becomes
    null, since JSON cannot express it. A line is handed to the operating system before `scalars`
    returns, so that a killed run loses none. A bucket cannot append, so there the file is rewritten
    every ten seconds and by `close`.
    """

    def __init__(self, workdir: epath.PathLike, *, enabled: bool = True, wandb_project: str = ""):
        """Writes nothing yet.

        Args:
          workdir: the work directory, created if it is missing.
          enabled: False (for a run's other processes) makes every method do nothing.
          wandb_project: name of a project of Weights & Biases; "" shows nothing there.

        Raises:
          ValueError: a project is given, and wandb is not installed.
        """
        check_library(wandb_project)
        self._enabled = enabled
        self._folder = folder = workdirs.absolute(workdir)
        self._path = folder / "metrics.jsonl"
        self._remote = workdirs.is_remote(self._folder)
        self._file: TextIO | None = None
        self._remote_lines: list[str] | None = None
        self._remote_written = -math.inf
        self._purge_step: int | None = None
        self._displays = [
            _Display("TensorBoard files", lambda: Board(folder / "tensorboard", self._purge_step))
        ]
        if wandb_project:
            project = wandb_project
            self._displays.append(_Display("W&B curves", lambda: WandbBoard(folder, project)))

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
        if self._file is not None or any(display.is_used for display in self._displays):
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
                self._show(functools.partial(_scalar, name=name, value=value, step=step))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Shows an image.

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
        for display in self._displays:
            display.close()
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

    def _show(self, show: Callable[[Any], None]) -> None:
        for display in self._displays:
            display.show(show)


class _Display:
    """A `Board` or `WandbBoard`, which ends with a warning if it cannot be written."""

    def __init__(self, what: str, open_board: Callable[[], Any]):
        self.is_used = False
        self._what, self._open, self._board = what, open_board, None

    def show(self, show: Callable[[Any], None]) -> None:
        """Calls `show` with the board, which is opened the first time."""
        if self.is_used and self._board is None:
            return
        try:
            if not self.is_used:
                self.is_used = True
                self._board = self._open()
            show(self._board)
        except (ImportError, OSError) as error:  # a bucket needs its own client library
            _log.warning("no %s: %s", self._what, error)
            board, self._board = self._board, None
            if board is not None:
                with contextlib.suppress(OSError):
                    board.close()

    def close(self) -> None:
        """Writes what remains."""
        if self._board is not None:
            self.show(lambda board: board.close())


def _scalar(board: Any, name: str, value: float, step: int) -> None:
    board.scalar(name, value, step)


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
