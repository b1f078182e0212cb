"""Unfinished uploads, so that a later run goes on where this one was interrupted.

Each is a small file, named after what is uploaded to where; it holds the upload id, and the size
and time of the version that it is for. While an upload runs its file is locked: another process
that sends the same file at the same time uses an upload of its own.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from client.state import make_private_directory, writing
from protocol.contexts import UPLOAD_ID_BYTES

_FORGOTTEN_AFTER_SECONDS = 30 * 86400
"""Longer than servers keep interrupted uploads."""


class Version(NamedTuple):
    """What tells one version of a file from another: bytes, and nanoseconds since 1970 UTC."""

    size: int
    modified: int


class Pending:
    """An upload that may be resumed. `stale_id` is that of an older version, to be abandoned."""

    def __init__(self, version: Version, descriptor: int | None, path: Path) -> None:
        self._version = version
        self._descriptor = descriptor
        self._path = path
        self.stale_id: bytes | None = None
        self.upload_id = b""
        found = self._found()
        if found is None or found[1] != version:
            self.stale_id = found[0] if found else None
            self.renew()
        else:
            self.upload_id = found[0]

    def renew(self) -> None:
        """Takes a new upload id: the server has given the old one up."""
        self.upload_id = os.urandom(UPLOAD_ID_BYTES)
        if self._descriptor is not None:
            text = f"{self.upload_id.hex()} {self._version.size} {self._version.modified}\n"
            with writing(self._path):
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, text.encode(), 0)

    def done(self) -> None:
        """There is nothing left to resume."""
        if self._descriptor is not None:
            with writing(self._path):
                self._path.unlink(missing_ok=True)

    def _found(self) -> tuple[bytes, Version] | None:
        if self._descriptor is None:
            return None
        try:
            upload_id, size, modified = os.pread(self._descriptor, 200, 0).split()
            found = bytes.fromhex(upload_id.decode())
            version = Version(int(size), int(modified))
        except ValueError:
            return None  # new, or torn by a power cut: nothing to resume
        return (found, version) if len(found) == UPLOAD_ID_BYTES else None


class PendingUploads:
    """The unfinished uploads in a directory. Raises `NotWritten`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._swept = False

    @contextmanager
    def claim(
        self, server: str, client_id: bytes, name: str, local: Path, version: Version
    ) -> Iterator[Pending]:
        """The upload of this version of `local` as `name`: one to be resumed, or a new one."""
        self._sweep()
        key = (server, client_id.hex(), name, str(local.absolute()))
        path = (
            self._directory
            / hashlib.sha256("\0".join(key).encode("utf-8", "surrogateescape")).hexdigest()
        )
        descriptor = _locked(path)
        try:
            yield Pending(version, descriptor, path)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _sweep(self) -> None:
        if self._swept:
            return
        self._swept = True
        make_private_directory(self._directory)
        for path in self._directory.iterdir():
            with contextlib.suppress(OSError):  # another process was faster
                if time.time() - path.stat().st_mtime > _FORGOTTEN_AFTER_SECONDS:
                    path.unlink()


def _locked(path: Path) -> int | None:
    """A descriptor of the file, which no other process has locked; None when one has."""
    while True:
        with writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(path, descriptor):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        os.close(descriptor)  # it was unlinked between opening and locking


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
