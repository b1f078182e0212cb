"""The statements that SQLite and MySQL share, and the one base class that runs them.

A subclass says how a transaction is run; what happens inside one is written here, once. The work
handed to a subclass may run more than once (a deadlock, a lost connection, a commit whose outcome
is unknown), so each piece of work is right when repeated.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from server.repository.errors import NameTaken, RepositoryError, UnknownClient
from server.repository.interface import Client, Repository, StoredFile, Usage

T = TypeVar("T")
Row = tuple[Any, ...]

BATCH_ROWS = 500

_CLIENT = "SELECT id, name, registered_at, last_seen, public_key, aes_key FROM clients "
_FILE = "SELECT client_id, file_name, upload_id, size, cksum, received_at FROM files "


class DuplicateRow(RepositoryError):
    """A row with this key exists; it leaves the package only when ids that must differ do not."""


class Transaction(Protocol):
    """What work may do inside a transaction; parameters stand for the question marks."""

    def rows(self, sql: str, *parameters: bytes | str | int | None) -> list[Row]:
        """All rows of a query."""
        ...

    def change(self, sql: str, *parameters: bytes | str | int | None) -> int:
        """The number of rows that an INSERT, UPDATE or DELETE met, whether or not it altered them.

        Raises `DuplicateRow` and leaves the transaction usable."""
        ...


Work = Callable[[Transaction], T]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the two databases differ inside a statement. `types` fills the migrations' braces;
    `lock_client` selects the row of a client so that no other transaction locks it before the
    commit; `table_exists` counts the tables of this database that have a given name."""

    types: dict[str, str]
    lock_client: str
    table_exists: str


class SqlRepository(Repository):
    """A repository on any database that runs these statements."""

    dialect: Dialect

    @abstractmethod
    def _read(self, work: Work[T]) -> T:
        """Runs work that only reads."""

    @abstractmethod
    def _write(self, work: Work[T]) -> T:
        """Runs work and commits it durably; nothing of it remains when it raises."""

    def add_client(self, client: Client) -> None:
        def add(transaction: Transaction) -> None:
            name = _name_bytes(client.name)
            try:
                transaction.change(
                    "INSERT INTO clients (id, name, registered_at, last_seen, public_key, aes_key) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    client.id,
                    name,
                    client.registered_at,
                    client.last_seen,
                    client.public_key,
                    client.wrapped_aes_key,
                )
            except DuplicateRow:
                holders = transaction.rows("SELECT id FROM clients WHERE name = ?", name)
                if not holders:
                    raise
                # The same id under this name is our own insert, committed before the answer was
                # lost: nobody else can know an id that has not been given out yet.
                if holders[0][0] != client.id:
                    raise NameTaken(f"a client named {client.name!r} is registered") from None

        self._write(add)

    def find_client(self, client_id: bytes) -> Client | None:
        rows = self._read(_Query(_CLIENT + "WHERE id = ?", (client_id,)))
        return _client(rows[0]) if rows else None

    def set_public_key(
        self, client_id: bytes, public_key: bytes, wrapped_aes_key: bytes, now: int
    ) -> bool:
        def store(transaction: Transaction) -> int:
            return transaction.change(
                "UPDATE clients SET public_key = ?, aes_key = ?, last_seen = ? "
                "WHERE id = ? AND (public_key IS NULL OR public_key = ?)",
                public_key,
                wrapped_aes_key,
                now,
                client_id,
                public_key,
            )

        return self._write(store) > 0

    def record_reconnect(self, client_id: bytes, wrapped_aes_key: bytes, now: int) -> bool:
        def store(transaction: Transaction) -> int:
            return transaction.change(
                "UPDATE clients SET aes_key = ?, last_seen = ? WHERE id = ?",
                wrapped_aes_key,
                now,
                client_id,
            )

        return self._write(store) > 0

    def publish_file(self, file: StoredFile) -> bytes | None:
        return self._write(_Publication(file, self.dialect.lock_client))

    def find_file(self, client_id: bytes, name: str) -> StoredFile | None:
        of_name = "WHERE client_id = ? AND file_name = ? AND verified = 1"
        rows = self._read(_Query(_FILE + of_name, (client_id, _name_bytes(name))))
        return _stored_file(rows[0]) if rows else None

    def clients(self) -> Iterator[Client]:
        for row in self._batches(_CLIENT + "WHERE name >= ? ORDER BY name LIMIT ?"):
            yield _client(row)

    def files(self, client_id: bytes) -> Iterator[StoredFile]:
        of_client = (
            "WHERE client_id = ? AND verified = 1 AND file_name >= ? ORDER BY file_name LIMIT ?"
        )
        for row in self._batches(_FILE + of_client, client_id):
            yield _stored_file(row)

    def usage(self, client_id: bytes) -> Usage:
        # Summed in two halves: SQLite refuses a sum beyond 2^63-1, which two sizes can reach.
        ((count, high, low),) = self._read(
            _Query(
                "SELECT COUNT(*), SUM(size >> 32), SUM(size & 4294967295) FROM files "
                "WHERE client_id = ? AND verified = 1",
                (client_id,),
            )
        )
        return Usage(files=count, size=(int(high or 0) << 32) + int(low or 0))

    def superseded(self) -> list[tuple[bytes, bytes]]:
        rows = self._read(_Query("SELECT client_id, upload_id FROM superseded", ()))
        return [(bytes(client_id), bytes(upload_id)) for client_id, upload_id in rows]

    def forget_superseded(self, upload_id: bytes) -> None:
        self._write(
            lambda transaction: transaction.change(
                "DELETE FROM superseded WHERE upload_id = ?", upload_id
            )
        )

    def _batches(self, sql: str, *parameters: bytes) -> Iterator[Row]:
        """Rows of a query whose second column is the name that it is ordered by."""
        start = b""
        while True:
            rows = self._read(_Query(sql, (*parameters, start, BATCH_ROWS)))
            yield from rows
            if len(rows) < BATCH_ROWS:
                return
            start = bytes(rows[-1][1]) + b"\0"  # the smallest name after the last one


@dataclass(frozen=True, slots=True)
class _Query:
    sql: str
    parameters: tuple[bytes | int, ...]

    def __call__(self, transaction: Transaction) -> list[Row]:
        return transaction.rows(self.sql, *self.parameters)


class _Publication:
    """One call of `publish_file`, which remembers what its earlier attempts saw.

    The memory decides the case of a commit whose outcome is unknown: by the time it is repeated,
    another upload may have replaced ours and its sweep may have removed our bytes, so publishing
    ours again would put a name on nothing and sweep the newer, acknowledged file."""

    def __init__(self, file: StoredFile, lock_client: str) -> None:
        self._file = file
        self._lock_client = lock_client
        self._attempted = False
        self._replaces: bytes | None = None

    def __call__(self, transaction: Transaction) -> bytes | None:
        """The upload id whose bytes are to be removed."""
        file = self._file
        # One publication for each client at a time: the row to replace may not exist yet, and what
        # does not exist cannot be locked. InnoDB lets go before it waits for the disk.
        if not transaction.rows(self._lock_client, file.client_id):
            raise UnknownClient(f"no client has the id {file.client_id.hex()}")
        current = self._current(transaction)
        if current == file.upload_id:
            return self._replaces
        if self._was_superseded(transaction):
            return None
        if self._attempted and current != self._replaces:
            self._supersede(transaction, file.upload_id)
            return file.upload_id
        self._attempted, self._replaces = True, current
        if current is None:
            self._insert(transaction)
        else:
            self._replace(transaction)
            self._supersede(transaction, current)
        return current

    def _current(self, transaction: Transaction) -> bytes | None:
        rows = transaction.rows(
            "SELECT upload_id FROM files WHERE client_id = ? AND file_name = ?",
            self._file.client_id,
            _name_bytes(self._file.name),
        )
        return bytes(rows[0][0]) if rows else None

    def _was_superseded(self, transaction: Transaction) -> bool:
        return bool(
            transaction.rows(
                "SELECT upload_id FROM superseded WHERE upload_id = ?", self._file.upload_id
            )
        )

    def _supersede(self, transaction: Transaction, upload_id: bytes) -> None:
        transaction.change(
            "INSERT INTO superseded (upload_id, client_id) VALUES (?, ?)",
            upload_id,
            self._file.client_id,
        )

    def _insert(self, transaction: Transaction) -> None:
        transaction.change(
            "INSERT INTO files (path_name, verified, size, cksum, received_at, upload_id, "
            "client_id, file_name) VALUES (?, 1, ?, ?, ?, ?, ?, ?)",
            *self._columns(),
        )

    def _replace(self, transaction: Transaction) -> None:
        transaction.change(
            "UPDATE files SET path_name = ?, verified = 1, size = ?, cksum = ?, received_at = ?, "
            "upload_id = ? WHERE client_id = ? AND file_name = ?",
            *self._columns(),
        )

    def _columns(self) -> tuple[bytes | str | int, ...]:
        file = self._file
        return (
            f"{file.client_id.hex()}/{file.upload_id.hex()}",
            file.size,
            file.cksum,
            file.received_at,
            file.upload_id,
            file.client_id,
            _name_bytes(file.name),
        )


def _name_bytes(name: str) -> bytes:
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise RepositoryError(f"the name {name!r} has no bytes") from error


def _client(row: Row) -> Client:
    client_id, name, registered_at, last_seen, public_key, wrapped_aes_key = row
    return Client(
        id=bytes(client_id),
        name=bytes(name).decode("utf-8", "surrogateescape"),
        registered_at=registered_at,
        last_seen=last_seen,
        public_key=None if public_key is None else bytes(public_key),
        wrapped_aes_key=None if wrapped_aes_key is None else bytes(wrapped_aes_key),
    )


def _stored_file(row: Row) -> StoredFile:
    client_id, name, upload_id, size, cksum, received_at = row
    return StoredFile(
        client_id=bytes(client_id),
        name=bytes(name).decode("utf-8", "surrogateescape"),
        upload_id=bytes(upload_id),
        size=size,
        cksum=cksum,
        received_at=received_at,
    )
