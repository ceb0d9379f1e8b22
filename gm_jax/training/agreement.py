"""Checks, before several processes train or read a run as one, that they agree.

If only one of them found a mistake, the others would wait for it in a collective. So all of them
run each check, and refuse together.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

import gm_jax
from gm_jax.borders import described
from gm_jax.training import workdir as workdirs

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint")
_PATIENCE = 10.0  # seconds within which a file must reach the other processes


def check_same(what: str, ours: Mapping[str, Any]) -> None:
    """Refuses, in all processes, values that differ between them.

    Args:
      what: name of the values, for the message.
      ours: this process's values, as JSON.

    Raises:
      ValueError: another process has other values; the message says what differs.
    """
    if jax.process_count() == 1:
        return
    first, *others = map(json.loads, _gathered(workdirs.dumps(ours, default=str)))
    for number, theirs in enumerate(others, 1):
        found = workdirs.differences(first, theirs)
        if found:
            raise ValueError(
                f"process {number} was started with another {what} than process 0: "
                f"{'; '.join(found.values())} (process 0 -> process {number}). Give all processes "
                "the same"
            )


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Refuses in all processes, with the reason, if one of them refuses inside.

    There must be no collective inside, since the others would not reach it.
    """
    refusal: Exception | None = None
    try:
        yield
    except (ValueError, OSError) as error:
        if jax.process_count() == 1:
            raise
        refusal = error
    if jax.process_count() == 1:
        return
    reasons = _gathered(described(refusal) if refusal else "")
    if refusal is not None:
        raise refusal
    for number, reason in enumerate(reasons):
        if reason:
            raise ValueError(f"process {number} refuses: {reason}")


def check_shared(workdir: epath.PathLike) -> None:
    """Refuses a work directory that is not the same for all processes.

    The first process writes a file there, and the others look for it for a few seconds.

    Raises:
      ValueError: in all processes, if one of them does not find the file.
    """
    if jax.process_count() == 1:
        return
    folder, first = workdirs.absolute(workdir), jax.process_index() == 0
    name = f".shared-{json.loads(_gathered(json.dumps(uuid.uuid4().hex))[0])}"
    try:
        with together():
            if first:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text("")
        with together():
            if not _appears(folder, name):
                raise ValueError(
                    f"--workdir={workdir}: what process 0 writes there is not seen by process "
                    f"{jax.process_index()}; give a folder that all processes share"
                )
    finally:
        if first:
            (folder / name).unlink(missing_ok=True)


def code() -> dict[str, str]:
    """{package: its version}, and for gm_jax a hash of its source."""
    root, digest = Path(gm_jax.__file__).parent, hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(f"{file.relative_to(root)}\n".encode())
        digest.update(file.read_bytes())
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"gm_jax": digest.hexdigest()[:16], **versions}


def _appears(folder: epath.Path, name: str) -> bool:
    """Whether a file appears within a few seconds, which network file systems may need."""
    end = time.monotonic() + _PATIENCE
    while not (folder / name).exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
        with contextlib.suppress(OSError):
            if not workdirs.is_remote(folder):
                os.listdir(folder)  # makes a network file system look again
    return True


def _gathered(text: str) -> list[str]:
    """The texts of all processes, in order."""
    data = np.frombuffer(text.encode(errors="backslashreplace"), np.uint8)
    lengths = multihost_utils.process_allgather(np.array([len(data)], np.int32))
    padded = np.zeros(int(np.max(lengths)) or 1, np.uint8)
    padded[: len(data)] = data
    rows = np.asarray(multihost_utils.process_allgather(padded))
    return [
        bytes(row[:length]).decode() for row, length in zip(rows, np.ravel(lengths), strict=True)
    ]
