"""Runs the parts of the accelerator's report, each in a process of its own that ends in time."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from experiments.accelerator import table
from experiments.accelerator.parts import Part

ROOT = Path(__file__).resolve().parents[2]
GRACE = 10.0  # seconds between being asked to end and being killed
LEAST = 0.5  # share of its limit below which a part is not begun
TAIL = 8  # last lines of a part that did not end well


def run_parts(
    parts: Mapping[str, Part],
    given: Sequence[str],
    output: Path,
    deadline: float,
    environment: Mapping[str, str],
    stop: threading.Event,
) -> None:
    """Runs parts one after another, and writes the table after each.

    A part gets its limit or what is left until the deadline, if that is at least half; so all end
    before the deadline, whatever they do.

    Args:
      parts: {name: part}.
      given: the flags of every part that is a function.
      output: folder of the results.
      deadline: of `time.monotonic()`.
      environment: of the parts.
      stop: once it is set, the part that runs is ended, and no other begins.
    """
    done = {each["part"] for each in table.read(output) if each.get("outcome") == "done"}
    with (output / "results.jsonl").open("a") as results, (output / "log.txt").open("a") as log:

        def record(found: Mapping[str, Any]) -> None:
            results.write(json.dumps(found) + "\n")
            results.flush()

        for name, part in parts.items():
            left = deadline - GRACE - time.monotonic()
            limit = min(part.seconds, left)
            if name in done or stop.is_set():
                continue
            if limit < LEAST * part.seconds:
                ended = {"outcome": "no time left"}
            else:
                print(f"{name}: at most {limit:.0f} s", file=sys.stderr, flush=True)
                ended = run_part(name, part, limit, given, environment, stop, record, log)
            record({"part": name, **ended})
            (output / "report.md").write_text(table.markdown(table.read(output)))
            print(f"{name}: {ended['outcome']}", file=sys.stderr, flush=True)


def run_part(
    name: str,
    part: Part,
    limit: float,
    given: Sequence[str],
    environment: Mapping[str, str],
    stop: threading.Event,
    record: Callable[[Mapping[str, Any]], None],
    log: IO[str],
) -> dict[str, Any]:
    """Runs a part in a process group of its own, records what it prints, and says how it ended."""
    command = [sys.executable, str(ROOT / "experiments" / "accelerator" / "parts.py"), name]
    command += [*given, f"--seconds={limit}"]
    start, tail = time.monotonic(), [""]
    process = subprocess.Popen(
        part.run if isinstance(part.run, tuple) else command,
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )

    def listen(lines: IO[str]) -> None:
        with lines:
            for line in lines:
                found = table.as_object(line)
                if found is not None:
                    record({"part": name, **found})
                    continue
                log.write(f"{name}: {line}")
                log.flush()
                tail.append(line.rstrip())
                del tail[:-TAIL]

    listener = threading.Thread(target=listen, args=(process.stdout,), daemon=True)
    listener.start()
    outcome = ""
    while process.poll() is None and not outcome:
        if stop.wait(0.1):
            outcome = "interrupted"
        elif time.monotonic() - start > limit:
            outcome = "out of time"
    end(process)
    listener.join(2.0)  # it ends with its part, unless that left a daemon behind
    if not outcome or (outcome == "out of time" and process.returncode == 0):
        outcome = "failed" if process.returncode else "done"
    ended = {"outcome": outcome, "seconds": time.monotonic() - start, "limit": limit}
    return ended | ({} if outcome == "done" else {"last_lines": "\n".join(tail).strip()})


def end(process: subprocess.Popen) -> None:
    """Ends a part with all that it started: it is asked first, and killed after GRACE seconds."""
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        with contextlib.suppress(ProcessLookupError):  # the group is empty
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
