"""`restore`: a backup into an empty data directory and an empty database, and every byte verified.

A mark in the data directory is there before anything else and goes when all is verified: until then
no server starts there. Broken off anywhere, the restore goes on when it is given again. The
database is filled by one transaction, once every object has its place.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from server.administration import account
from server.backup import DATABASE, KEYS, MARK, quoted
from server.checking import Check, show_problem
from server.config import Config
from server.durability import copy_durably, make_directory, sync_directory, write_private
from server.errors import ConfigurationError, StorageError
from server.holding import Holding
from server.pairing import adopt
from server.repository import Action, Event, NotEmpty, Repository, RepositoryError, open_repository
from server.storage import RESTORE_MARK, DirectoryStorage, object_path

_ROWS = "restore.sqlite3"
_OF_A_LOCK = frozenset(("lock", "staging", f"{RESTORE_MARK}.new"))

Mark = dict[str, object]
"""What `backup` says of a backup: its version, whether it is complete, when it was made."""


@dataclass(slots=True)
class Restore:
    """One run, which is alone in the data directory and with the backup."""

    config: Config
    source: Path
    storage: DirectoryStorage
    files: int = 0
    size: int = 0

    def carry_out(self, said: Mark, problem: Callable[[str], None]) -> int:
        """Restores, tells `problem` of each file that is not as it was, and returns their number.
        Raises `ServerError`."""
        event, begun_before = self._begun(said)
        try:
            opened = self._open_target(begun_before=begun_before)
        except BaseException:  # whatever it was, nothing is restored yet
            if not begun_before:
                self._forget_beginning()
            raise
        with closing(opened) as target, closing(Holding(target)):
            rows = self._copy_of_rows()
            with closing(open_repository(f"sqlite:///{quoted(rows)}")) as wanted:
                self._copy_objects(wanted)
            for name in KEYS:
                if (self.source / name).exists():
                    write_private(self.config.data / name, (self.source / name).read_bytes())
            target.fill_from(rows, event)
            adopt(target, self.config.data)
            problems = 0
            for found in Check(target, self.storage, live=False, deep=True).problems():
                problems += 1
                show_problem(problem, found)
        for path in self._own_files():
            path.unlink(missing_ok=True)
        sync_directory(self.config.data)
        return problems

    def _begun(self, said: Mark) -> tuple[Event, bool]:
        """The restore as the audit trail is to tell of it, and whether it was begun before."""
        path = self.config.data / RESTORE_MARK
        event = Event(Action.RESTORED, operator=account(), subjects=(f"{self.source.resolve()}",))
        try:
            begun = json.loads(path.read_bytes())
            same, at, event_id = begun["backup"] == said, begun["at"], bytes.fromhex(begun["id"])
        except FileNotFoundError:
            text = json.dumps({"backup": said, "at": event.at, "id": event.id.hex()})
            write_private(path, f"{text}\n".encode())
            return event, False
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigurationError(f"{path} is damaged: empty the directory") from error
        if not same:
            raise ConfigurationError(
                f"data directory {self.config.data}: the restore of another backup was broken off"
                " there: give that one, or empty the directory"
            )
        return replace(event, at=at, id=event_id), True

    def _open_target(self, *, begun_before: bool) -> Repository:
        password = self.config.database_password(os.environ)
        target = open_repository(self.config.database_url, password=password, upgrade=None)
        try:
            target.hold()
            target.upgrade()
            if not (begun_before or target.is_empty()):
                raise _not_empty(self.config)
        except BaseException:  # whatever it was, the database is let go
            target.close()
            raise
        return target

    def _forget_beginning(self) -> None:
        """Takes the mark away where all is as it was before; a new database file may lie here."""
        if {path.name for path in self.config.data.iterdir()} <= {RESTORE_MARK, *_OF_A_LOCK}:
            (self.config.data / RESTORE_MARK).unlink(missing_ok=True)
            sync_directory(self.config.data)

    def _copy_of_rows(self) -> Path:
        """The backup's database where it may be opened, which can alter it."""
        rows = self.config.data / _ROWS
        for path in self._own_files()[:-1]:
            path.unlink(missing_ok=True)
        copy_durably(self.source / DATABASE, rows)
        return rows

    def _own_files(self) -> tuple[Path, ...]:
        """What there is for the restore alone; the mark comes last."""
        return tuple(self.config.data / name for name in (_ROWS, f"{_ROWS}-journal", RESTORE_MARK))

    def _copy_objects(self, wanted: Repository) -> None:
        for client in wanted.clients():
            directory = self.config.data / client.id.hex()
            directory.mkdir(mode=0o700, exist_ok=True)
            for file in wanted.files(client.id):
                self.files += 1
                self.size += file.size
                place = self.storage.path(client.id, file.object_id)
                if not place.exists():
                    # What is not in the backup is found missing when all is verified.
                    with contextlib.suppress(FileNotFoundError):
                        copy_durably(object_path(self.source, client.id, file.object_id), place)
            sync_directory(directory)  # also for what an earlier run put there
        sync_directory(self.config.data)


def run(
    config: Config,
    show: Callable[[str], None],
    complain: Callable[[StorageError], None],
    source: Path,
) -> int:
    """Restores the backup in `source` and shows one line about it; the exit status, 1 where files
    are not as they were when they were acknowledged, each of which is shown.

    Raises `ServerError`, with nothing changed where anything is not empty or the database cannot be
    opened.
    """
    if config.data.resolve().is_relative_to(source.resolve()):
        raise ConfigurationError(f"data directory {config.data}: it lies in the backup")
    try:
        with _held(source) as said:
            _require_empty(config.data)
            make_directory(config.data)
            with closing(DirectoryStorage.being_restored(config.data)) as storage:
                _require_empty(config.data)  # now that nobody else can change that
                restore = Restore(config, source, storage)
                problems = restore.carry_out(said, show)
    except NotEmpty as error:
        raise _not_empty(config) from error
    except RepositoryError as error:
        raise RepositoryError(f"{error}{_what_now(config)}") from error
    except (OSError, StorageError) as error:
        cause = error.strerror if isinstance(error, OSError) else None
        raise StorageError(f"restore {source}: {cause or error}{_what_now(config)}") from error
    show(
        f"{restore.files} files, {restore.size} bytes restored from {source} to {config.data},"
        " each compared with its digest"
    )
    if problems:
        complain(StorageError(f"{problems} of them are not as they were when they were received"))
    return 1 if problems else 0


@contextmanager
def _held(source: Path) -> Iterator[Mark]:
    """Keeps `backup` from changing what is restored; what the backup says of itself."""
    try:
        said = dict(json.loads((source / MARK).read_bytes()))
        lock = os.open(source / "lock", os.O_RDONLY)  # a backup may lie where nobody can write
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"restore {source}: it is no backup that `backup` made") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"restore {source}: another process uses it") from error
        if not said.get("complete") or not (source / DATABASE).exists():
            raise ConfigurationError(
                f"restore {source}: it was broken off before the backup was complete"
            )
        yield said
    finally:
        os.close(lock)


def _require_empty(data: Path) -> None:
    """Raises `ConfigurationError` unless there is nothing but a lock, or what a restore began."""
    names = {path.name for path in data.iterdir()} if data.exists() else set()
    if RESTORE_MARK in names:
        return
    if names - _OF_A_LOCK or any((data / "staging").glob("*")):
        raise ConfigurationError(f"data directory {data}: it is not empty, give another --data")


def _what_now(config: Config) -> str:
    if (config.data / RESTORE_MARK).exists():
        return "; give the command again, and it goes on"
    return "; nothing was restored"


def _not_empty(config: Config) -> ConfigurationError:
    return ConfigurationError(
        f"the database {config.database_url} is not empty: give an empty one with --database"
    )
