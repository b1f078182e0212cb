"""Reading objects, which may pass over the page cache."""

import contextlib
import errno
from typing import BinaryIO

from server.errors import StorageError
from server.storage.staged import set_direct, storage_errors


def pass_over_page_cache(stream: BinaryIO) -> None:
    """From here on whole blocks of an object go from the disk to memory that begins with a page,
    where the file system can do that (O_DIRECT)."""
    with contextlib.suppress(OSError):
        set_direct(stream.fileno(), True)


def read_fully(stream: BinaryIO, buffer: memoryview) -> int:
    """Fills `buffer` from an object and returns its size; raises `StorageError` when the object
    ends or fails before."""
    filled = 0
    with storage_errors("cannot read an object"):
        while filled < len(buffer):
            try:
                read = stream.readinto(buffer[filled:])  # type: ignore[attr-defined] # a FileIO
            except OSError as error:
                if error.errno != errno.EINVAL or not set_direct(stream.fileno(), False):
                    raise
                continue  # what is no whole block, as at the end, is read by the page cache
            if not read:
                raise StorageError("an object is shorter than the database says")
            filled += read
    return filled
