"""Files in a local directory.

    <data>/lock                       held by the one server that uses the directory
    <data>/staging/<object id>        bytes that are not verified yet
    <data>/<client id>/<object id>    verified files; ids in hexadecimal
    <data>/orphans/<client id>/<object id>
                                      objects that the database does not know
    <data>/restore.json               there until a restore is complete

No name that a client sends is ever part of a path. Staging lies in the same file system, so that
publication is one rename.
"""

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

from server.durability import make_directory, sync_directory, sync_file, sync_file_system
from server.errors import ConfigurationError, StorageError
from server.storage.staged import StagedFile, storage_errors

RESTORE_MARK = "restore.json"
"""In a data directory: a restore was begun there and has not ended."""

_ID = re.compile(r"[0-9a-f]{32}")
# From here on one sync of the whole file system is quicker than one of each file.
_FILES_FOR_SYNCFS = 8


def object_path(root: Path, client_id: bytes, object_id: bytes) -> Path:
    """Where the bytes of a file lie under a data directory."""
    return root / client_id.hex() / object_id.hex()


class DirectoryStorage:
    """Objects under one data directory, which one server process holds at a time."""

    @classmethod
    def looking_at(cls, root: Path) -> Self:
        """A directory of objects whose caller has seen to it that nobody else changes it."""
        storage = cls.__new__(cls)
        storage._name(root)
        return storage

    @classmethod
    def watching(cls, root: Path) -> tuple[Self, bool]:
        """The directory to be looked at and not to be changed, and whether a server uses it; when
        none does, none can begin to until `close`. Raises `ConfigurationError`."""
        storage = cls.looking_at(root)
        _refuse_half_restored(root)
        try:
            storage._lock = os.open(root / "lock", os.O_RDWR)
        except OSError as error:
            raise ConfigurationError(f"data directory {root}: {error.strerror}") from error
        try:
            fcntl.flock(storage._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return storage, True
        return storage, False

    @classmethod
    def being_restored(cls, root: Path) -> Self:
        """The directory, for a restore; raises `ConfigurationError` when somebody else uses it."""
        storage = cls.__new__(cls)
        storage._hold(root)
        return storage

    def __init__(self, root: Path) -> None:
        """Makes the directory (0700) if needed.

        Raises `ConfigurationError` when it cannot be used, another server uses it, or a restore was
        broken off there.
        """
        self._hold(root)
        try:
            _refuse_half_restored(root)
        except ConfigurationError:
            self.close()
            raise

    def _hold(self, root: Path) -> None:
        self._name(root)
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

    def _name(self, root: Path) -> None:
        self._root = root
        self._staging = root / "staging"
        self._orphans = root / "orphans"
        self._durable_directories: set[bytes] = set()
        self._left_behind: set[Path] = set()
        self._left_behind_lock = threading.Lock()
        self._sync_turn = threading.Lock()
        self._doubtful = False

    def close(self) -> None:
        """Lets another server have the directory."""
        os.close(self._lock)

    def stage(self, object_id: bytes) -> StagedFile:
        """A new, empty staged file."""
        return StagedFile(self._staging / object_id.hex(), self._left_behind.add)

    def place(
        self, client_id: bytes, contents: Iterable[tuple[bytes, memoryview]]
    ) -> list[StorageError | None]:
        """Writes small objects, each an id and its content, where they belong: for what was
        verified before it is written. `make_durable` does the rest.

        For each the error that left nothing of it; raises `StorageError` where that is for all.
        """
        failures: list[StorageError | None] = []
        with storage_errors("cannot place a file"):
            if client_id not in self._durable_directories:
                self._ensure_directory(client_id)
            directory = os.open(self._root / client_id.hex(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            for object_id, content in contents:
                try:
                    _write_new(object_id.hex(), content, directory)
                    failures.append(None)
                except OSError as error:
                    self.take_back(client_id, object_id)
                    failures.append(StorageError(f"cannot place a file: {error.strerror}"))
        finally:
            os.close(directory)
        return failures

    def make_durable(self, client_id: bytes, object_ids: Sequence[bytes]) -> None:
        """Puts placed objects of one client on the disk, with their names.

        Raises `StorageError`; all of them are to be removed then: a second sync proves nothing.
        """
        if len(object_ids) >= _FILES_FOR_SYNCFS and self._sync_file_system():
            return
        with storage_errors("cannot sync placed files"):
            for object_id in object_ids:
                sync_file(self.path(client_id, object_id))
            sync_directory(self._root / client_id.hex())

    def take_back(self, client_id: bytes, object_id: bytes) -> None:
        """Removes a placed object that no name was given; later, where that fails now."""
        path = self.path(client_id, object_id)
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._left_behind.add(path)

    def resume(self, client_id: bytes, object_id: bytes) -> StagedFile:
        """A staged file with what it holds already, or a new one.

        An object that was put in place and then not published becomes staged again.
        """
        staged = self._staging / object_id.hex()
        with storage_errors("cannot stage a file again"), contextlib.suppress(FileNotFoundError):
            if not staged.exists():
                self.path(client_id, object_id).rename(staged)
        with self._left_behind_lock:
            self._left_behind.discard(staged)
            return StagedFile(staged, self._left_behind.add, resume=True)

    def discard(self, object_id: bytes) -> None:
        """Removes a staged file that nobody has open; one that is gone is no error."""
        with storage_errors("cannot remove a staged file"):
            (self._staging / object_id.hex()).unlink(missing_ok=True)

    def _sync_file_system(self) -> bool:
        with self._sync_turn, storage_errors("cannot sync placed files"):
            if self._doubtful:
                return False
            try:
                return sync_file_system(self._lock)
            except OSError:
                # One descriptor tells of a failure once, and it may be another thread's: from now
                # on every file is asked itself.
                self._doubtful = True
                raise

    def open(self, client_id: bytes, object_id: bytes) -> BinaryIO:
        """An object's bytes, to be read without a buffer; raises `StorageError`."""
        with storage_errors("cannot open an object"):
            return self.path(client_id, object_id).open("rb", buffering=0)

    def publish(self, client_id: bytes, *object_ids: bytes) -> None:
        """Moves synced staged files of one client to their objects' places, durably, all with one
        sync of the directory; moving them again is harmless.

        Raises `StorageError`.
        """
        directory = self._root / client_id.hex()
        with storage_errors("cannot publish a file"):
            self._ensure_directory(client_id)
            for object_id in object_ids:
                name = object_id.hex()
                target = f"{directory}/{name}"  # hundreds of them: a Path takes its time
                if not os.path.exists(target):  # noqa: PTH110
                    (self._staging / name).rename(target)
            sync_directory(directory)

    def _ensure_directory(self, client_id: bytes) -> None:
        directory = self._root / client_id.hex()
        # That the directory exists does not show that it is durable: another thread may have made
        # it just now, or its sync may have failed.
        if client_id not in self._durable_directories or not directory.is_dir():
            directory.mkdir(mode=0o700, exist_ok=True)
            sync_directory(self._root)
            self._durable_directories.add(client_id)

    def path(self, client_id: bytes, object_id: bytes) -> Path:
        """Where an object's bytes are."""
        return object_path(self._root, client_id, object_id)

    def size(self, client_id: bytes, object_id: bytes) -> int | None:
        """An object's size in bytes, None when it is not there. Raises `StorageError`."""
        with storage_errors("cannot look at an object"):
            try:
                return self.path(client_id, object_id).stat().st_size
            except FileNotFoundError:
                return None

    def content(
        self, client_id: bytes, object_id: bytes, buffer: memoryview
    ) -> Iterator[memoryview]:
        """An object's bytes, read into `buffer` piece by piece; raises `StorageError`."""
        with self.open(client_id, object_id) as stream, storage_errors("cannot read an object"):
            while read := stream.readinto(buffer):  # type: ignore[attr-defined] # it is a FileIO
                yield buffer[:read]

    def changed_at(self, client_id: bytes, object_id: bytes) -> float | None:
        """When an object was last written or renamed, in seconds since 1970; None when it is not
        there. Raises `StorageError`."""
        with storage_errors("cannot look at an object"):
            try:
                return self.path(client_id, object_id).stat().st_ctime
            except FileNotFoundError:
                return None

    def remove(self, client_id: bytes, object_id: bytes) -> None:
        """Removes an object; one that is gone already is no error. Raises `StorageError`."""
        with storage_errors("cannot remove an object"):
            self.path(client_id, object_id).unlink(missing_ok=True)

    def sweep_staging(self, keep: Container[bytes] = ()) -> int:
        """Removes all staged files but those with these object ids, and returns their number."""
        swept = 0
        with storage_errors("cannot sweep the staging directory"):
            for path in self._staging.iterdir():
                if not (_ID.fullmatch(path.name) and bytes.fromhex(path.name) in keep):
                    path.unlink()
                    swept += 1
        return swept

    def staged_ids(self) -> Iterator[bytes]:
        """Ids of the objects that are staged."""
        return _ids(self._staging)

    def staged_bytes(self) -> int:
        """Bytes that staged files hold together. Raises `StorageError`."""
        total = 0
        with storage_errors("cannot look at the staging directory"):
            for path in self._staging.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    total += path.stat().st_size
        return total

    def sweep_left_behind(self) -> int:
        """Removes the staged files that could not be removed when they were discarded; returns
        their number. Raises `StorageError` while they cannot be removed yet."""
        swept = 0
        with self._left_behind_lock, storage_errors("cannot remove a staged file"):
            for path in tuple(self._left_behind):
                path.unlink(missing_ok=True)
                self._left_behind.discard(path)
                swept += 1
        return swept

    def client_ids(self) -> Iterator[bytes]:
        """Ids of all clients that have a directory."""
        return _ids(self._root)

    def object_ids(self, client_id: bytes) -> Iterator[bytes]:
        """Ids of all objects of a client."""
        directory = self._root / client_id.hex()
        return _ids(directory) if directory.is_dir() else iter(())

    def set_aside(self, client_id: bytes, object_id: bytes) -> None:
        """Moves an object that the database does not know to orphans. Raises `StorageError`."""
        self._move(self._root / client_id.hex(), self._orphans / client_id.hex(), object_id)

    def is_aside(self, client_id: bytes, object_id: bytes) -> bool:
        """Whether an object lies in orphans."""
        return (self._orphans / client_id.hex() / object_id.hex()).exists()

    def bring_back(self, client_id: bytes, object_id: bytes) -> bool:
        """Moves an object back from orphans; False when it is not there."""
        if not self.is_aside(client_id, object_id):
            return False
        self._move(self._orphans / client_id.hex(), self._root / client_id.hex(), object_id)
        return True

    def free_bytes(self) -> int:
        """Disk space that the server may still fill. Raises `StorageError`."""
        with storage_errors("cannot read the free disk space"):
            status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize

    def _move(self, source: Path, target: Path, object_id: bytes) -> None:
        with storage_errors(f"cannot move an object from {source} to {target}"):
            make_directory(target)
            (source / object_id.hex()).rename(target / object_id.hex())
            sync_directory(target)
            sync_directory(source)


def _refuse_half_restored(root: Path) -> None:
    if (root / RESTORE_MARK).exists():
        raise ConfigurationError(
            f"data directory {root}: a restore has not ended there: give `restore` again"
        )


def _write_new(name: str, content: memoryview, directory: int) -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
    try:
        while content:
            content = content[os.write(descriptor, content) :]
    finally:
        os.close(descriptor)


def _ids(directory: Path) -> Iterator[bytes]:
    with storage_errors(f"cannot list {directory}"), os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _ID.fullmatch(entry.name)]
    return iter([bytes.fromhex(name) for name in names])
