"""Every row of a database: whether there are any, and how they get into another one."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from server.repository.errors import NotEmpty
from server.repository.records import Event
from server.repository.trail import append
from server.repository.transactions import BATCH_ROWS, Row, SqlDatabase, Transaction

# The clients come first: rows of other tables refer to them.
TABLES = {
    "clients": (
        "id", "name", "public_key", "last_seen", "aes_key", "registered_at", "disabled",
    ),
    "tokens": ("digest", "name", "expires_at", "created_at"),
    "files": (
        "client_id", "file_name", "object_id", "path_name", "verified", "size", "cksum",
        "received_at", "sha256", "modified", "mode",
    ),
    "uploads": (
        "client_id", "upload_id", "object_id", "file_name", "size", "modified", "mode", "policy",
        "begun_at", "received_at", "receipt",
    ),
    "superseded": ("object_id", "client_id"),
    "audit": (
        "at", "id", "action", "outcome", "client_id", "client_name", "address", "operator",
        "subjects", "target", "size",
    ),
    "data_directory": ("place", "id", "starts", "used_by"),
}  # fmt: skip
"""The columns of every table, but for the version of the schema."""

_MOST_BYTES = 2**20  # of values in one statement: MySQL refuses what exceeds max_allowed_packet


class CopyStatements(SqlDatabase):
    """The part of a repository that knows it as a whole."""

    def is_empty(self) -> bool:
        return self._read(_is_empty)

    def fill_from(self, copy: Path, event: Event) -> None:
        from server.repository.sqlite import SqliteRepository  # which is made of these statements

        def fill(origin: Transaction, transaction: Transaction) -> None:
            known = "SELECT id FROM audit WHERE at = ? AND id = ?"
            if transaction.rows(known, event.at, event.id):
                return
            # Of a server that was started and never used: the copy says whose the database is now.
            # Before anything is looked at: if that one still runs, it can add nothing any more.
            transaction.change("DELETE FROM data_directory")
            if not _is_empty(transaction):
                raise NotEmpty("the database holds rows already: give an empty one")
            copy_rows(origin, transaction)
            append(transaction, self.dialect, [event])

        with closing(SqliteRepository(copy)) as source:
            source._read(
                lambda origin: self._write(lambda transaction: fill(origin, transaction)),
            )


def copy_rows(origin: Transaction, transaction: Transaction) -> None:
    """Adds every row of one database to another one."""
    for table, columns in TABLES.items():
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        for rows in _slices(origin.stream(f"SELECT {names} FROM {table}")):  # noqa: S608 - constants
            transaction.insert(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608


def _is_empty(transaction: Transaction) -> bool:
    return not any(
        transaction.rows(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - constants
        for table in TABLES
        if table != "data_directory"
    )


def _slices(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    size = 0
    for row in rows:
        some.append(row)
        size += sum(len(value) for value in row if isinstance(value, bytes | bytearray | str))
        if len(some) == BATCH_ROWS or size >= _MOST_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
