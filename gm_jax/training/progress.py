"""A run's visible progress: bars on a terminal, and plain lines everywhere else.

Only the first process of a run reports. Without a terminal, no long operation, including
compilation, is silent for a minute.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import jax
import tqdm

_SECONDS = 30.0  # of silence, after which a line says that the operation is still running


def say(text: str) -> None:
    """Writes a line to stderr, if there is one."""
    if jax.process_index() == 0 and sys.stderr is not None:
        tqdm.tqdm.write(text, file=sys.stderr)  # above a bar, where there is one
        sys.stderr.flush()


class Lines:
    """Progress of a long operation in plain lines: one after every half-minute of silence."""

    def __init__(self, label: str, total: int, unit: str, initial: int = 0):
        """Says nothing yet.

        Args:
          label: name of the operation.
          total: number of units; 0 if there is none.
          unit: " images", " steps".
          initial: number of units done before.
        """
        self.n = self._initial = initial
        self._label, self._total, self._unit = label, total, unit
        self._start = self._said = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_saying, daemon=True)
        if jax.process_index() == 0:
            self._thread.start()

    def update(self, count: int) -> None:
        """Adds to the number of units done."""
        self.n += count

    def say(self, text: str) -> None:
        """Says something else, which delays the next line."""
        self._said = time.monotonic()
        say(text)

    def left(self) -> str:
        """The time left, such as "3:20 left", or the time passed if nothing is done yet."""
        seconds = time.monotonic() - self._start
        if self.n == self._initial:
            return f"{seconds:.0f} s so far"
        remaining = seconds * (self._total - self.n) / (self.n - self._initial)
        return f"{tqdm.tqdm.format_interval(remaining)} left"

    def close(self) -> None:
        """Ends the lines."""
        self._ended.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep_saying(self) -> None:
        while not self._ended.wait(max(0.0, self._said + _SECONDS - time.monotonic())):
            if time.monotonic() - self._said >= _SECONDS:
                done = f" {self.n}/{self._total}{self._unit}," if self._total else ""
                self.say(f"{self._label}:{done} {self.left()}")


def progress(label: str, total: int, unit: str) -> "tqdm.tqdm | Lines":
    """A bar for operations over two seconds, which disappears at the end; or `Lines`."""
    if not _terminal():
        return Lines(label, total, unit)
    return tqdm.tqdm(
        desc=label, total=total, unit=unit, file=sys.stderr, disable=_hidden(), leave=False, delay=2
    )


@contextlib.contextmanager
def working(label: str) -> Iterator[None]:
    """Announces an operation at once, such as a compilation, and then that it still runs."""
    say(label)
    with Lines(label, 0, ""):
        yield


class ProgressBar:
    """Training progress: steps, images/s, loss terms, bits/dim, time left, as a bar or as lines."""

    def __init__(self, total: int, initial: int = 0):
        """Draws the bar.

        Args:
          total: the step at which the run ends.
          initial: the step at which it starts.
        """
        self._lines = None if _terminal() else Lines("training", total, " steps", initial)
        self._total = total
        self._bar = tqdm.tqdm(
            total=total,
            initial=initial,
            unit="step",
            file=sys.stderr,
            disable=self._lines is not None or _hidden(),
            dynamic_ncols=True,
            bar_format="{n_fmt}/{total_fmt} steps |{bar:12}| {remaining} left{postfix}",
        )

    def update(
        self,
        step: int,
        metrics: Mapping[str, Any] | None = None,
        images_per_second: float | None = None,
    ) -> None:
        """Moves the bar, or writes a line.

        Args:
          step: steps done.
          metrics: name -> number, shown in this order after bits/dim; None keeps the last ones.
          images_per_second: None omits it.
        """
        shown = [] if images_per_second is None else [f"{images_per_second:.0f} images/s"]
        bits_first = sorted(metrics or (), key=lambda name: "bits_per_dim" not in name)
        shown += [f"{name} {float((metrics or {})[name]):.4g}" for name in bits_first]
        if self._lines is not None:
            self._lines.update(step - self._lines.n)
            if shown:
                head = f"step {step}/{self._total}, {self._lines.left()}"
                self._lines.say(", ".join([head, *shown]))
        elif not self._bar.disable:
            if shown:
                self._bar.set_postfix_str(", ".join(shown), refresh=False)
            self._bar.update(step - self._bar.n)

    def close(self) -> None:
        """Leaves the bar in place and ends the line."""
        self._bar.close()
        if self._lines is not None:
            self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _hidden() -> bool:
    return jax.process_index() != 0
