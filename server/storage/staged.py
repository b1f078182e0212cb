"""A file that is being received: written, cut, read again and synced, and gone unless published."""

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from server.durability import sync_file
from server.errors import StorageError

# Starting the write-out early keeps the final sync short; waiting for it now and then keeps it so
# on a disk that is slower than the network.
_WRITE_OUT_BYTES = 8 * 2**20
_WAIT_BYTES = 128 * 2**20
# No file system asks for larger blocks than pages; small pieces are quicker in memory.
_BLOCK_BYTES = 4096
_DIRECT_BYTES = 256 * 2**10


class StagedFile:
    """A file that is being received: visible to nobody, gone unless it is published."""

    def __init__(
        self, path: Path, left_behind: Callable[[Path], None], *, resume: bool = False
    ) -> None:
        """Creates the file, or with `resume` opens what is there of it.

        `left_behind` is told when it was discarded and could not be removed."""
        self._path = path
        self._left_behind = left_behind
        new = 0 if resume else os.O_EXCL
        with storage_errors("cannot stage a file"):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | new, 0o600)
            self._size = os.lseek(self._descriptor, 0, os.SEEK_END) if resume else 0
        self._written_out = 0
        self._waited_for = 0
        self._direct = False
        self._may_be_direct = True

    @property
    def size(self) -> int:
        """Bytes that the file holds."""
        return self._size

    def cut(self, size: int) -> None:
        """Keeps the first `size` bytes only; raises `StorageError`."""
        with storage_errors("cannot cut a staged file"):
            os.ftruncate(self._descriptor, size)
            self._size = os.lseek(self._descriptor, 0, os.SEEK_END)

    def content(self, buffer: memoryview) -> Iterator[memoryview]:
        """All bytes, read into `buffer` piece by piece; raises `StorageError`."""
        offset = 0
        with storage_errors("cannot read a staged file"):
            while read := os.preadv(self._descriptor, [buffer], offset):
                yield buffer[:read]
                offset += read

    def write(self, data: memoryview) -> None:
        """Appends `data`; raises `StorageError` on a full or failing disk."""
        with storage_errors("cannot write a staged file"):
            self._set_direct(is_block_aligned(data, self._size) and self._may_be_direct)
            while data:
                try:
                    written = os.write(self._descriptor, data)
                except OSError as error:
                    if not self._direct or error.errno != errno.EINVAL:
                        raise
                    self._may_be_direct = False  # this file system has other blocks, or none
                    self._set_direct(False)
                    continue
                self._size += written
                data = data[written:]
            if self._direct:
                self._written_out = self._waited_for = self._size
            elif self._size - self._written_out >= _WRITE_OUT_BYTES:
                os.posix_fadvise(self._descriptor, self._written_out, 0, os.POSIX_FADV_DONTNEED)
                self._written_out = self._size
            if self._size - self._waited_for >= _WAIT_BYTES:
                os.fdatasync(self._descriptor)
                self._waited_for = self._size

    def _set_direct(self, direct: bool) -> None:
        """Past the page cache, large pieces go to the disk without being copied, and do not drive
        out of memory what others read."""
        if direct == self._direct:
            return
        try:
            set_direct(self._descriptor, direct)
        except OSError:
            self._may_be_direct = False
        else:
            self._direct = direct

    def sync(self) -> None:
        """Puts the content on the disk.

        Raises `StorageError`; the kernel may then have dropped what it could not write, so that a
        second sync would report success: the file must be discarded.
        """
        with storage_errors("cannot sync a staged file"):
            if self._descriptor >= 0:
                os.fsync(self._descriptor)
            else:
                # A failed write that nobody has been told of is told to who opens the file next.
                sync_file(self._path)

    def close(self) -> None:
        """Releases the descriptor; the file stays staged."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # After a sync its result means nothing, and the number is free again whatever it says.
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def discard(self) -> None:
        """Removes the staged file; removing it again is harmless."""
        self.close()
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            self._left_behind(self._path)


def set_direct(descriptor: int, direct: bool) -> bool:
    """Sets O_DIRECT or takes it away; whether it was set before. Raises `OSError`."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    wanted = flags | os.O_DIRECT if direct else flags & ~os.O_DIRECT
    fcntl.fcntl(descriptor, fcntl.F_SETFL, wanted)
    return bool(flags & os.O_DIRECT)


def is_block_aligned(data: memoryview, offset: int) -> bool:
    """Whether `data` is large, and lies in memory and in the file as O_DIRECT needs it; memory
    that cannot be written to does not tell where it is."""
    size = len(data)
    if data.readonly or size < _DIRECT_BYTES or (size | offset) % _BLOCK_BYTES:
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(data)) % _BLOCK_BYTES == 0


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turns an `OSError` into `StorageError`."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror}") from error
