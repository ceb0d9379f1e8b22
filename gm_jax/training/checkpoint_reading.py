"""Reads a checkpoint in all processes together, and tells damage from a failing store."""

import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from gm_jax.borders import described
from gm_jax.training import checkpoint_manager as manager
from gm_jax.training.checkpoint_tree import MismatchError

Result = TypeVar("Result")
# Neither of these: they would also occur with an intact checkpoint in a working store.
_RAISED_AT_ONCE = (MismatchError, MemoryError, jax.errors.JaxRuntimeError)
_PAUSES = (0.5, 2.0, 8.0)  # seconds before another try
_GOOD, _DAMAGED, _UNREAD = range(3)

# Errors of a reachable path that is not what it should be.
_DAMAGE = (FileNotFoundError, NotADirectoryError, IsADirectoryError, EOFError)
# Clients of buckets, not all of whose errors derive from OSError.
_CLIENTS = ("aiohttp", "botocore", "gcsfs", "google", "requests", "s3fs", "urllib3")
# Tensorstore's errors are ValueErrors that begin with one of absl's codes.
_CODES = re.compile(
    r"\b(UNAVAILABLE|DEADLINE_EXCEEDED|PERMISSION_DENIED|UNAUTHENTICATED|RESOURCE_EXHAUSTED"
    r"|ABORTED|CANCELLED)\b"
)

_log = logging.getLogger(__name__)


def is_damage(error: BaseException) -> bool:
    """Whether an error, or one of its causes, is about the bytes rather than their store.

    A store that is slow, unreachable or closed to us (timeouts, connections, permissions) says
    nothing about the checkpoint; wrong or missing bytes do.
    """
    cause: BaseException | None = error
    while cause is not None:
        client = type(cause).__module__.partition(".")[0] in _CLIENTS
        store = isinstance(cause, OSError) and not isinstance(cause, _DAMAGE)
        if client or store or _CODES.search(str(cause)):
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def read(what: str, function: Callable[[], Result]) -> tuple[Result | None, str | None]:
    """Calls a function that reads; every process does so in the same order.

    Args:
      what: name of what is read, for messages.
      function: may be collective: all processes call it the same number of times.

    Returns:
      Its result and None; or, if a process found damage, None and what is wrong.

    Raises:
      OSError: some process could not read, four times, for a reason other than damage.
    """
    for pause in (*_PAUSES, None):
        result = error = None
        try:
            with manager.without_stragglers():
                result = function()
        except _RAISED_AT_ONCE:
            raise
        except Exception as exception:
            error = exception
        worst = _worst(_GOOD if error is None else _DAMAGED if is_damage(error) else _UNREAD)
        if worst == _GOOD:
            return result, None
        text = _one_line(error) if error else "it cannot be read by another process"
        if worst == _DAMAGED:
            return None, text
        if pause is not None:
            _log.warning("%s cannot be read, trying again: %s", what, text)
            time.sleep(pause)
    raise OSError(
        f"{what} cannot be read: {text}. That is no damage, and nothing was changed: see that the "
        "store can be reached and read, and give the same command again"
    ) from error


def _worst(outcome: int) -> int:
    """The worst outcome among the processes."""
    if jax.process_count() == 1:
        return outcome
    return int(np.max(multihost_utils.process_allgather(np.int32(outcome))))


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {described(error)}"
