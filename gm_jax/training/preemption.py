"""Ends a run that is asked to (SIGTERM), after a step on which all its processes agree."""

import signal
import types
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import multihost_utils

# What `signal.signal` accepts and returns.
Handler = Callable[[int, types.FrameType | None], Any] | int | signal.Handlers | None


class Preemption:
    """Context that listens for SIGTERM and SIGINT (Ctrl-C).

    With several processes it listens for SIGTERM only: JAX's coordination service receives it,
    tells the others and finds a step that none has passed.
    """

    def __init__(self) -> None:
        self._asked = False
        self._previous: dict[int, Handler] = {}

    def __enter__(self) -> "Preemption":
        if jax.process_count() == 1:
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: types.FrameType | None) -> None:
        del frame
        self._asked = True
        # A second Ctrl-C comes from a user who does not want to wait.
        signal.signal(number, self._previous[number])

    def reached(self, step: int) -> bool:
        """Whether to save and end after this step; call it once after every step."""
        if jax.process_count() == 1:
            return self._asked
        return multihost_utils.reached_preemption_sync_point(step)
