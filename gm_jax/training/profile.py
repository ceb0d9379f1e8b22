"""A profiler trace of some steps of a training, in the work directory."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
from etils import epath

from gm_jax.training.progress import say

_FIRST = 10  # steps of a start that are not traced: they compile, and fill the pipeline


class Trace:
    """Traces the steps that follow the first ten of a start; every process writes its own.

    TensorBoard (with `tensorboard-plugin-profile`) and XProf show `<folder>`. A training that ends
    earlier, or is asked to, writes what it has.

    Args:
      folder: where the trace is written; it may be in a bucket.
      steps: how many steps; 0 traces nothing.
    """

    def __init__(self, folder: epath.Path, steps: int):
        self._folder, self._left, self._skipped = folder, steps, 0
        self._local: tempfile.TemporaryDirectory[str] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the next step is traced."""
        return self._local is not None

    def reached(self, step: int, state: Any) -> None:
        """Starts or ends the trace after a step; call it with the state of every step.

        Args:
          step: the number of the step that was done.
          state: what the step computes, which the end of the trace waits for.
        """
        if self._left == 0:
            return
        self._skipped += 1
        if not self.is_open and self._skipped >= _FIRST:
            jax.block_until_ready(state)
            self._local = tempfile.TemporaryDirectory(prefix="gm_jax-profile-")
            jax.profiler.start_trace(self._local.name)
        elif self.is_open:
            self._left -= 1
            if self._left == 0:
                jax.block_until_ready(state)
                self._write(f"up to step {step}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_open:
            self._write("as far as the training came")

    def _write(self, what: str) -> None:
        """Ends the trace, and copies it to its folder, where JAX itself writes to disks alone."""
        assert self._local is not None
        local, self._local, self._left = self._local, None, 0
        with local:
            jax.profiler.stop_trace()
            for path in Path(local.name).rglob("*"):
                if path.is_file():
                    copy = self._folder / os.path.relpath(path, local.name)
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    copy.write_bytes(path.read_bytes())
        say(f"profiler trace, {what}: {self._folder}")
