"""Opening what is to be sent."""

import os
import stat
from io import FileIO
from pathlib import Path

from client.errors import FileUnusable


def open_regular(path: Path) -> FileIO:
    """The regular file at `path`, opened for unbuffered reading; raises `FileUnusable`."""
    try:
        # Without O_NONBLOCK opening a named pipe would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FileUnusable(f"{str(path)!r}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileUnusable(f"{str(path)!r} is not a regular file; only those can be sent")
    return FileIO(descriptor)
