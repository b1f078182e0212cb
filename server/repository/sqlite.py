"""The embedded repository: one SQLite file, safe between threads and between processes."""

import contextlib
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from server.durability import make_directory, sync_directory, sync_file
from server.repository.errors import DatabaseFull, RepositoryError, RepositoryUnavailable
from server.repository.migrations import migrate, require_newest
from server.repository.statements import SqlRepository
from server.repository.transactions import (
    Dialect,
    DuplicateRow,
    Parameter,
    Row,
    T,
    Transaction,
    Work,
)

_DIALECT = Dialect(
    types={
        "id": "BLOB",
        "digest": "BLOB",
        "name": "BLOB",
        "file_name": "BLOB",
        "key": "BLOB",
        "path": "TEXT",
        "word": "TEXT",
        "names": "BLOB",
        "table": "WITHOUT ROWID",
    },
    # BEGIN IMMEDIATE has locked everything.
    lock_clients="SELECT id FROM clients WHERE id IN (?, ...)",
    share_row="",
    skip_present="ON CONFLICT DO NOTHING",
    table_exists="SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
    column_exists="SELECT COUNT(*) FROM pragma_table_info(?) WHERE name = ?",
)

_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)

# Of ENOSPC, and of any other error of a write, such as EDQUOT.
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})

_DUPLICATE = frozenset({sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE})


class SqliteRepository(SqlRepository):
    """A repository in the SQLite file at `path`, which is made if missing, for its owner only.

    Other processes may use the file at the same time; each waits up to `busy_seconds` for the
    others, then `RepositoryUnavailable` is raised. Unless it may `upgrade` the schema, an older one
    is `SchemaTooOld`; with None that method is called before any other but `hold`."""

    dialect = _DIALECT

    def __init__(
        self, path: Path, *, busy_seconds: float = 30.0, upgrade: bool | None = True
    ) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._held: int | None = None
        try:
            _make_private(path)
            self._connection = sqlite3.connect(
                path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            cause = getattr(error, "strerror", None) or error
            raise RepositoryUnavailable(f"database {path}: {cause}") from error
        try:
            self._configure()
            if upgrade:
                self.upgrade()
            elif upgrade is not None:
                self._read(lambda transaction: require_newest(transaction, _DIALECT))
        except BaseException:
            self._connection.close()
            raise

    def _configure(self) -> None:
        try:
            # In simulated power cuts DELETE with FULL lost acknowledged rows and TRUNCATE with FULL
            # lost none; WAL has a bug that corrupts, in every SQLite before 3.51.3.
            ((mode,),) = self._connection.execute("PRAGMA journal_mode = TRUNCATE")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error as error:
            raise self._translated(error) from error
        if mode != "truncate":
            raise RepositoryUnavailable(f"database {self._path}: journal mode stays {mode}")

    def upgrade(self) -> None:
        self._run("BEGIN EXCLUSIVE", lambda transaction: migrate(transaction, _DIALECT))

    def _read(self, work: Work[T]) -> T:
        return self._run("BEGIN", work)

    def _write(self, work: Work[T]) -> T:
        # A transaction that begins by reading and writes later can be refused half-way when
        # another process writes; one that begins as a writer waits its turn.
        return self._run("BEGIN IMMEDIATE", self._guarded(work))

    def _run(self, begin: str, work: Work[T]) -> T:
        with self._lock:
            try:
                self._connection.execute(begin)
                try:
                    result = work(_SqliteTransaction(self._connection))
                    self._connection.execute("COMMIT")
                finally:
                    # Some errors end the transaction by themselves.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
            except (sqlite3.Error, OverflowError) as error:
                raise self._translated(error) from error
        return result

    def _translated(self, error: sqlite3.Error | OverflowError) -> RepositoryError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        message = f"database {self._path}: {error}"
        if code in _FULL:
            return DatabaseFull(message)
        # The low byte is the kind of error, the rest says where it struck.
        return (RepositoryUnavailable if code & 0xFF in _UNAVAILABLE else RepositoryError)(message)

    def copy_to(self, path: Path) -> None:
        try:
            _make_private(path)
            with self._lock, contextlib.closing(sqlite3.connect(path)) as copy:
                # All pages in one step: in several it begins anew whenever somebody writes.
                self._connection.backup(copy)
            sync_file(path)
        except (OSError, sqlite3.Error) as error:
            raise RepositoryError(f"database {self._path}, copied to {path}: {error}") from error

    def hold(self, _given_up: Callable[[], bool] | None = None, /) -> None:
        # Nothing to wait for: the lock goes with the process. It is not on the database itself:
        # whoever closes that takes SQLite's own locks away.
        path = self._path.with_name(f"{self._path.name}.lock")
        try:
            held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RepositoryUnavailable(f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(held)
            if isinstance(error, BlockingIOError):
                raise self._in_use() from error
            raise RepositoryUnavailable(f"{path}: {error.strerror}") from error
        self._held = held

    def keep_hold(self) -> None:
        self._read(self._look)

    def _named(self) -> str:
        return f"database {self._path}"

    def close(self) -> None:
        with self._lock:
            self._connection.close()
            if self._held is not None:
                os.close(self._held)
                self._held = None


class _SqliteTransaction(Transaction):
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, *parameters: Parameter) -> list[Row]:
        return self._connection.execute(sql, parameters).fetchall()

    def stream(self, sql: str) -> Iterator[Row]:
        yield from self._connection.execute(sql)

    def change(self, sql: str, *parameters: Parameter) -> int:
        with _duplicates_told():
            return self._connection.execute(sql, parameters).rowcount

    def insert(self, sql: str, rows: Sequence[tuple[Parameter, ...]]) -> None:
        with _duplicates_told():
            self._connection.executemany(sql, rows)


@contextmanager
def _duplicates_told() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode in _DUPLICATE:
            raise DuplicateRow(str(error)) from error
        raise


def _make_private(path: Path) -> None:
    """Makes the file and the directories above it that are missing, for their owner only; SQLite
    gives its journal the rights of the file."""
    make_directory(path.parent)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    sync_directory(path.parent)
