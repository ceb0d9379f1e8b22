"""The border to external files and systems, whose failures are reported in one line.

Libraries raise nearly anything on damaged bytes (KeyError, struct.error, zlib.error, a MemoryError
for an array with a damaged shape), so no list of errors would be complete. Here they become a
ValueError that names the file or, if the system fails, an OSError that does.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from etils import epath

_MOST = 300  # characters kept of a library's message
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def reading(what: str, way_out: str) -> Iterator[None]:
    """Turns whatever a library raises while reading into a ValueError.

    Args:
      what: start of the message: the file, and the part of it that is read.
      way_out: end of the message.

    Raises:
      ValueError: something was raised inside.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what} cannot be read ({described(error)}); {way_out}") from error


@contextlib.contextmanager
def writing(path: epath.PathLike) -> Iterator[None]:
    """Adds a file's name to the system's errors, which do not name an open file."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def described(error: BaseException) -> str:
    """An error in a short line; for the system's errors, the reason and the file."""
    if isinstance(error, OSError) and error.strerror:
        named = error.filename if error.filename2 is None else error.filename2
        text = error.strerror if named is None else f"{os.fsdecode(named)}: {error.strerror}"
    else:
        text = str(error)
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def told(error: OSError) -> str:
    """An error of the system, and the way out if there is one."""
    if error.errno in _FULL:
        way_out = "make room there, or give another folder"
    elif error.errno in _CLOSED:
        way_out = "give a folder that can be read and written"
    else:
        return described(error)
    return (
        f"{described(error)}; {way_out} (--workdir, or --output where it is only read; "
        "GM_JAX_CACHE for images, JAX_COMPILATION_CACHE_DIR for programs, TMPDIR)"
    )
