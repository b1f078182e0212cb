"""Appending to a file on the disk, past the page cache where that is possible."""

import errno
import fcntl
import os
from io import FileIO

_BLOCK_BYTES = 4096
"""No file system asks for larger blocks than pages."""


class Appending:
    """Appends to an open, unbuffered file, from its position on; nobody else may write to it.

    With O_DIRECT data is not copied on its way to the disk, and does not drive out of memory what
    others use: where memory is short that takes longer than everything else. It wants whole blocks
    at both ends, and memory that begins with a page.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._direct = False
        self._may_be_direct = True

    def write(self, data: memoryview, *, aligned: bool) -> None:
        """Appends `data`, all of it; raises `OSError`. `aligned` says that it begins with a page
        of memory."""
        whole = not (len(data) | self._file.tell()) % _BLOCK_BYTES
        self._set_direct(aligned and whole and self._may_be_direct)
        while data:
            try:
                written = self._file.write(data)
            except OSError as error:
                if not self._direct or error.errno != errno.EINVAL:
                    raise
                self._may_be_direct = False  # this file system has other blocks, or none
                self._set_direct(False)
                continue
            data = data[written:]

    def _set_direct(self, direct: bool) -> None:
        if direct == self._direct:
            return
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        try:
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags ^ os.O_DIRECT)
        except OSError:
            self._may_be_direct = False
        else:
            self._direct = direct
