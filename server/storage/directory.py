"""Files in a local directory.

    <data>/lock                       held by the one server that uses the directory
    <data>/staging/<upload id>        bytes that are not verified yet
    <data>/<client id>/<upload id>    verified files; ids in hexadecimal
    <data>/orphans/<client id>/<upload id>
                                      objects that the database does not know

No name that a client sends is ever part of a path. Staging lies in the same file system, so that
publication is one rename.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.durability import make_directory, sync_directory
from server.errors import ConfigurationError, StorageError

_ID = re.compile(r"[0-9a-f]{32}")
# Starting the write-out early keeps the final sync short; waiting for it now and then keeps it so
# on a disk that is slower than the network.
_WRITE_OUT_BYTES = 8 * 2**20
_WAIT_BYTES = 128 * 2**20


class StagedFile:
    """A file that is being received: visible to nobody, gone unless it is published."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _storage_errors("cannot stage a file"):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0
        self._written_out = 0
        self._waited_for = 0

    def write(self, data: memoryview) -> None:
        """Appends `data`; raises `StorageError` on a full or failing disk."""
        with _storage_errors("cannot write a staged file"):
            while data:
                written = os.write(self._descriptor, data)
                self._size += written
                data = data[written:]
            if self._size - self._written_out >= _WRITE_OUT_BYTES:
                os.posix_fadvise(self._descriptor, self._written_out, 0, os.POSIX_FADV_DONTNEED)
                self._written_out = self._size
            if self._size - self._waited_for >= _WAIT_BYTES:
                os.fdatasync(self._descriptor)
                self._waited_for = self._size

    def sync(self) -> None:
        """Puts the content on the disk.

        Raises `StorageError`; the kernel may then have dropped what it could not write, so that a
        second sync would report success: the file must be discarded.
        """
        with _storage_errors("cannot sync a staged file"):
            os.fsync(self._descriptor)

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
        with contextlib.suppress(OSError):  # start-up sweeps what cannot be removed now
            self._path.unlink()


def object_path(root: Path, client_id: bytes, upload_id: bytes) -> Path:
    """Where the bytes of a file lie under a data directory."""
    return root / client_id.hex() / upload_id.hex()


class DirectoryStorage:
    """Objects under one data directory, which one server process holds at a time."""

    def __init__(self, root: Path) -> None:
        """Makes the directory (0700) if needed.

        Raises `ConfigurationError` when it cannot be used or another server uses it.
        """
        self._root = root
        self._staging = root / "staging"
        self._orphans = root / "orphans"
        self._durable_directories: set[bytes] = set()
        try:
            make_directory(root)
            # An earlier start may have made it and been killed before it was durable; where we may
            # not read the parent, somebody else made it.
            with contextlib.suppress(PermissionError):
                sync_directory(root.parent)
            self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"data directory {root}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._staging.mkdir(mode=0o700, exist_ok=True)
            sync_directory(root)
        except BlockingIOError as error:
            os.close(self._lock)
            raise ConfigurationError(
                f"data directory {root} is in use by another server: stop it or use another one"
            ) from error
        except OSError as error:
            os.close(self._lock)
            raise ConfigurationError(f"data directory {root}: {error.strerror}") from error

    def close(self) -> None:
        """Lets another server have the directory."""
        os.close(self._lock)

    def stage(self, upload_id: bytes) -> StagedFile:
        """A new, empty staged file."""
        return StagedFile(self._staging / upload_id.hex())

    def publish(self, client_id: bytes, upload_id: bytes) -> None:
        """Moves a synced staged file to its object's place, durably; moving it again is harmless.

        Raises `StorageError`.
        """
        target = self.path(client_id, upload_id)
        directory = target.parent
        with _storage_errors("cannot publish a file"):
            # That the directory exists does not show that it is durable: another thread may have
            # made it just now, or its sync may have failed.
            if client_id not in self._durable_directories or not directory.is_dir():
                directory.mkdir(mode=0o700, exist_ok=True)
                sync_directory(self._root)
                self._durable_directories.add(client_id)
            if not target.exists():
                (self._staging / upload_id.hex()).rename(target)
            sync_directory(directory)

    def path(self, client_id: bytes, upload_id: bytes) -> Path:
        """Where an object's bytes are."""
        return object_path(self._root, client_id, upload_id)

    def size(self, client_id: bytes, upload_id: bytes) -> int | None:
        """An object's size in bytes, None when it is not there. Raises `StorageError`."""
        with _storage_errors("cannot look at an object"):
            try:
                return self.path(client_id, upload_id).stat().st_size
            except FileNotFoundError:
                return None

    def remove(self, client_id: bytes, upload_id: bytes) -> None:
        """Removes an object; one that is gone already is no error. Raises `StorageError`."""
        with _storage_errors("cannot remove an object"):
            self.path(client_id, upload_id).unlink(missing_ok=True)

    def sweep_staging(self) -> int:
        """Removes all staged files and returns their number."""
        swept = 0
        with _storage_errors("cannot sweep the staging directory"):
            for path in self._staging.iterdir():
                path.unlink()
                swept += 1
        return swept

    def client_ids(self) -> Iterator[bytes]:
        """Ids of all clients that have a directory."""
        return _ids(self._root)

    def upload_ids(self, client_id: bytes) -> Iterator[bytes]:
        """Upload ids of all objects of a client."""
        directory = self._root / client_id.hex()
        return _ids(directory) if directory.is_dir() else iter(())

    def set_aside(self, client_id: bytes, upload_id: bytes) -> None:
        """Moves an object that the database does not know to orphans. Raises `StorageError`."""
        self._move(self._root / client_id.hex(), self._orphans / client_id.hex(), upload_id)

    def bring_back(self, client_id: bytes, upload_id: bytes) -> bool:
        """Moves an object back from orphans; False when it is not there."""
        if not (self._orphans / client_id.hex() / upload_id.hex()).exists():
            return False
        self._move(self._orphans / client_id.hex(), self._root / client_id.hex(), upload_id)
        return True

    def free_bytes(self) -> int:
        """Disk space that the server may still fill. Raises `StorageError`."""
        with _storage_errors("cannot read the free disk space"):
            status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize

    def _move(self, source: Path, target: Path, upload_id: bytes) -> None:
        with _storage_errors(f"cannot move an object from {source} to {target}"):
            make_directory(target)
            (source / upload_id.hex()).rename(target / upload_id.hex())
            sync_directory(target)
            sync_directory(source)


def _ids(directory: Path) -> Iterator[bytes]:
    with _storage_errors(f"cannot list {directory}"), os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _ID.fullmatch(entry.name)]
    return iter([bytes.fromhex(name) for name in names])


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what}: {error.strerror}") from error
