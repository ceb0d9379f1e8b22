"""The border to files and systems of others: what goes wrong there is told in one line.

Libraries raise nearly anything on damaged bytes (KeyError, struct.error, zlib.error, a MemoryError
for an array of a damaged shape), so that no list of errors would be complete. What comes out of
here is a ValueError that names the file or, where the system fails, an OSError that does.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from etils import epath

_MOST = 300  # characters of a library's message
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def reading(what: str, way_out: str) -> Iterator[None]:
    """Turns whatever is raised by a library that reads into a ValueError.

    Args:
      what: begins the message: the file, and which part of it is read.
      way_out: ends the message.

    Raises:
      ValueError: something was raised inside.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what} cannot be read ({described(error)}); {way_out}") from error


@contextlib.contextmanager
def writing(path: epath.PathLike) -> Iterator[None]:
    """Names a file in the errors of the system, which do not name one that is open."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def described(error: BaseException) -> str:
    """An error in a line that is not too long; of the system's, what it says and the file."""
    if isinstance(error, OSError) and error.strerror:
        named = error.filename if error.filename2 is None else error.filename2
        text = error.strerror if named is None else f"{os.fsdecode(named)}: {error.strerror}"
    else:
        text = str(error)
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


def told(error: OSError) -> str:
    """An error of the system, and the way out where there is one."""
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
