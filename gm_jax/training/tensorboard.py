"""TensorBoard's event files, written by the thread that logs.

tensorboardX's own writer has a thread behind a queue of ten events: if a full disk kills that
thread, the training waits forever to put the eleventh.
"""

import os
import time

import numpy as np
from etils import epath
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import directory_check

_FLUSH_SECONDS = 10.0


class Board:
    """An event file; the call that writes raises the system's errors."""

    def __init__(self, folder: epath.PathLike, purge_step: int | None = None):
        """Opens a new file.

        Args:
          folder: created if it is missing.
          purge_step: TensorBoard hides what earlier files hold for this step and later ones.
        """
        directory_check(os.fspath(folder))
        self._events = EventsWriter(os.path.join(os.fspath(folder), "events"))
        self._flushed = 0.0
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(step=purge_step, wall_time=time.time(), session_log=start))

    def scalar(self, name: str, value: float, step: int) -> None:
        """Writes a number for a step."""
        self._add(summary.scalar(name, value), step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Writes an image for a step, uint8 [H, W, C]."""
        self._add(summary.image(name, image, dataformats="HWC"), step)

    def close(self) -> None:
        """Writes what remains."""
        self._events.close()

    def _add(self, values: Summary, step: int) -> None:
        self._write(Event(step=step, wall_time=time.time(), summary=values))

    def _write(self, event: Event) -> None:
        self._events.write_event(event)
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self._events.flush()
            self._flushed = time.monotonic()
