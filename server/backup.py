"""`backup`: the database and every object that it names, of one moment, while the server runs.

Objects are never altered once they have their place, so they are copied at leisure, or linked; only
the list of them has to be of one moment. It is read from the copy of the database: what that names
and what is not there any more was replaced or removed since, and a newer copy of it is made.

A backup that is there already is brought up to date: objects are added, then the database takes its
place, then objects that it does not name are removed. Broken off anywhere, it is complete.
"""

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import protocol
from server.config import Config
from server.durability import copy_durably, make_directory, sync_directory, write_private
from server.errors import ConfigurationError, StorageError
from server.inspection import open_existing
from server.pairing import ID_FILE, check_pair, refuse_older
from server.repository import Repository, open_repository
from server.storage import DirectoryStorage, object_path

DATABASE = "eft.sqlite3"
MARK = "backup.json"
KEYS = (ID_FILE, "server.key", "receipt.key", "certificate.pem", "certificate.key")
_MOST_SNAPSHOTS = 20
# Another file system, none that knows links, too many links, or a system that forbids them.
_NO_LINKS = frozenset((errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS))

Object = tuple[bytes, bytes]
"""Client id and object id."""


@dataclass(slots=True)
class Backup:
    """One run. `missing` are the files whose bytes the server itself has lost."""

    config: Config
    storage: DirectoryStorage
    target: Path
    link: bool
    files: int = 0
    size: int = 0
    added: int = 0
    missing: list[str] = field(default_factory=list)

    def make(self, repository: Repository) -> None:
        """Brings the target up to date; raises `ServerError`."""
        named = self._copy_until_whole(repository)
        (self.target / "staging").mkdir(mode=0o700, exist_ok=True)  # as in a data directory
        for name in KEYS:
            source = self.config.data / name
            if source.exists():
                write_private(self.target / name, source.read_bytes())
        self._put_database_in_place()
        self._remove_unnamed(named)

    def _copy_until_whole(self, repository: Repository) -> set[Object]:
        """The objects that the copy of the database names, all of which are in the target then."""
        gone: set[Object] = set()
        for _ in range(_MOST_SNAPSHOTS):
            with self._snapshot(repository) as snapshot:
                named, lost = self._copy_objects(snapshot)
            # What two databases name, one after the other, and is not there, is lost for good.
            if lost <= gone:
                return named
            gone = lost
        raise StorageError("files are replaced faster than they can be copied: try again later")

    @contextmanager
    def _snapshot(self, repository: Repository) -> Iterator[Repository]:
        """The copy of the database."""
        path = self.target / f"{DATABASE}.new"
        path.unlink(missing_ok=True)
        repository.copy_to(path)
        with closing(open_repository(f"sqlite:///{quoted(path)}")) as snapshot:
            # What is not in a backup: bytes that were never acknowledged, or are not needed.
            for upload in list(snapshot.pending_uploads()):
                snapshot.drop_upload(upload.client_id, upload.upload_id)
            for _, object_id in snapshot.superseded():
                snapshot.forget_superseded(object_id)
            yield snapshot

    def _copy_objects(self, snapshot: Repository) -> tuple[set[Object], set[Object]]:
        self.files, self.size, self.missing = 0, 0, []
        named: set[Object] = set()
        lost: set[Object] = set()
        for client in snapshot.clients():
            directory = self.target / client.id.hex()
            directory.mkdir(mode=0o700, exist_ok=True)
            for file in snapshot.files(client.id):
                self.files += 1
                self.size += file.size
                if self._copy(client.id, file.object_id, file.size):
                    named.add((client.id, file.object_id))
                else:
                    lost.add((client.id, file.object_id))
                    self.missing.append(f"{client.name}/{file.name}")
            sync_directory(directory)  # also for what an earlier run added before it was ended
        return named, lost

    def _copy(self, client_id: bytes, object_id: bytes, size: int) -> bool:
        source = self.storage.path(client_id, object_id)
        copy = object_path(self.target, client_id, object_id)
        with contextlib.suppress(FileNotFoundError):
            if copy.stat().st_size == size:
                return True
            copy.unlink()
        try:
            if not (self.link and _linked(source, copy)):
                copy_durably(source, copy)
        except FileNotFoundError:
            return False
        self.added += 1
        return True

    def _put_database_in_place(self) -> None:
        new = self.target / f"{DATABASE}.new"
        new.rename(self.target / DATABASE)
        new.with_name(f"{new.name}-journal").unlink(missing_ok=True)
        sync_directory(self.target)

    def _remove_unnamed(self, named: set[Object]) -> None:
        copies = DirectoryStorage.looking_at(self.target)
        for client_id in copies.client_ids():
            for object_id in copies.object_ids(client_id):
                if (client_id, object_id) not in named:
                    copies.remove(client_id, object_id)


def run(
    config: Config,
    show: Callable[[str], None],
    complain: Callable[[StorageError], None],
    target: Path,
    *,
    copy: bool,
) -> int:
    """Makes or renews the backup in `target` and shows one line about it; the exit status, 1 where
    the server itself has lost bytes, which `complain` is told of.

    Objects are linked where that is possible, unless `copy` says no. Raises `ServerError`.
    """
    began = time.time()
    storage, live = DirectoryStorage.watching(config.data)
    with closing(storage), closing(open_existing(config, alone=not live)) as repository:
        check_pair(repository, config.data)
        refuse_older(repository, config.data)
        try:
            with _held(config.data, target):
                backup = Backup(config, storage, target, link=not copy)
                backup.make(repository)
                _mark(target, complete=True, made_at=int(began), files=backup.files)
        except OSError as error:
            raise StorageError(f"backup {target}: {error.strerror or error}") from error
    show(f"{backup.files} files, {backup.size} bytes in {target}, {backup.added} of them new")
    for name in backup.missing:
        complain(StorageError(f"the bytes of {name!r} are gone: not in the backup"))
    return 1 if backup.missing else 0


@contextmanager
def _held(data: Path, target: Path) -> Iterator[None]:
    """Makes the directory where it is missing and keeps everybody else out of it."""
    if target.resolve().is_relative_to(data.resolve()):
        raise ConfigurationError(f"backup {target}: it lies in the data directory")
    make_directory(target)
    if any(target.iterdir()) and not (target / MARK).exists():
        raise ConfigurationError(f"backup {target}: it is neither empty nor a backup")
    lock = os.open(target / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"backup {target}: another process uses it") from error
        if not (target / MARK).exists():
            _mark(target, complete=False)
        yield
    finally:
        os.close(lock)


def _mark(target: Path, **said: object) -> None:
    text = json.dumps({"version": protocol.__version__, **said})
    write_private(target / MARK, f"{text}\n".encode())


def _linked(source: Path, copy: Path) -> bool:
    try:
        os.link(source, copy)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def quoted(path: Path) -> str:
    """A path as the URL of a database has it."""
    return "".join(f"%{ord(c):02X}" if c in "%#?\t\r\n" else c for c in str(path))
