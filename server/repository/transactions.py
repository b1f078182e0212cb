"""What the statements need of a database: transactions, and where the two dialects differ.

A subclass of `SqlDatabase` says how a transaction is run. The work handed to it may run more than
once (a deadlock, a lost connection, a commit whose outcome is unknown), so each piece of work is
right when repeated.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from server.repository.errors import RepositoryError, UnknownClient
from server.repository.interface import Repository

T = TypeVar("T")
Row = tuple[Any, ...]
Parameter = bytes | str | int | None

BATCH_ROWS = 500


class DuplicateRow(RepositoryError):
    """A row with this key exists; it leaves the package only when ids that must differ do not."""


class Transaction(Protocol):
    """What work may do inside a transaction; parameters stand for the question marks."""

    def rows(self, sql: str, *parameters: Parameter) -> list[Row]:
        """All rows of a query."""
        ...

    def stream(self, sql: str) -> Iterator[Row]:
        """All rows of a query, however many. On MySQL nothing else can be asked meanwhile."""
        ...

    def change(self, sql: str, *parameters: Parameter) -> int:
        """The number of rows that an INSERT, UPDATE or DELETE met, whether or not it altered them.

        Raises `DuplicateRow` and leaves the transaction usable."""
        ...

    def insert(self, sql: str, rows: Sequence[tuple[Parameter, ...]]) -> None:
        """Runs an INSERT for every row of parameters, in as few statements as the database likes.

        Raises `DuplicateRow`, after which the transaction can only be undone."""
        ...


Work = Callable[[Transaction], T]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Where the two databases differ inside a statement. `types` fills the migrations' braces;
    `lock_clients` selects the rows of some clients, in the order of their ids, so that no other
    transaction locks them before the commit; `share_row`, behind a query, reads what is committed
    and keeps it so until the commit; `skip_present`, behind an INSERT, passes over rows
    whose key is there; `table_exists` counts the tables of this database that have a given name,
    `column_exists` the columns of a given table that have a given name."""

    types: dict[str, str]
    lock_clients: str
    share_row: str
    skip_present: str
    table_exists: str
    column_exists: str


class SqlDatabase(Repository):
    """Runs transactions; the statements are in its subclasses."""

    dialect: Dialect

    @abstractmethod
    def _read(self, work: Work[T]) -> T:
        """Runs work that only reads."""

    @abstractmethod
    def _write(self, work: Work[T]) -> T:
        """Runs work and commits it durably; nothing of it remains when it raises."""

    def _batches(self, sql: str, *parameters: bytes) -> Iterator[Row]:
        """Rows of a query whose second column is the name that it is ordered by."""
        start = b""
        while True:
            rows = self._read(Query(sql, (*parameters, start, BATCH_ROWS)))
            yield from rows
            if len(rows) < BATCH_ROWS:
                return
            start = bytes(rows[-1][1]) + b"\0"  # the smallest name after the last one


@dataclass(frozen=True, slots=True)
class Query:
    """Work that is one query."""

    sql: str
    parameters: tuple[Parameter, ...] = ()

    def __call__(self, transaction: Transaction) -> list[Row]:
        return transaction.rows(self.sql, *self.parameters)


def locked(transaction: Transaction, dialect: Dialect, client_id: bytes) -> bool:
    """Waits for the client's turn, which lasts until the commit; False when it is unknown.

    Whatever changes a client's files or pending uploads takes its turn: the row to replace may not
    exist yet, and what does not exist cannot be locked. InnoDB lets go before it waits for the
    disk."""
    return bool(transaction.rows(_spread(dialect.lock_clients, 1), client_id))


def lock_all(transaction: Transaction, dialect: Dialect, client_ids: Iterable[bytes]) -> None:
    """The same for several clients, always in the same order, so that two who want the same ones
    wait for each other instead of colliding. Raises `UnknownClient`."""
    wanted = sorted(set(client_ids))
    found = {bytes(row[0]) for row in rows_of(transaction, dialect.lock_clients, wanted)}
    for client_id in wanted:
        if client_id not in found:
            raise UnknownClient(f"no client has the id {client_id.hex()}")


def rows_of(
    transaction: Transaction, sql: str, values: Sequence[bytes], *before: Parameter
) -> list[Row]:
    """The rows of a query that ends in `IN (?, ...)`, for any number of values; `before` are the
    parameters that come before them."""
    return [
        row
        for some in _slices(values)
        for row in transaction.rows(_spread(sql, len(some)), *before, *some)
    ]


def change_rows(
    transaction: Transaction, sql: str, values: Sequence[bytes], *before: Parameter
) -> None:
    """A change that ends like a query for `rows_of`."""
    for some in _slices(values):
        transaction.change(_spread(sql, len(some)), *before, *some)


def by_client(keys: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """(client id, key) pairs as the keys of each client, each once."""
    grouped: dict[bytes, list[bytes]] = defaultdict(list)
    for client_id, key in dict.fromkeys(keys):
        grouped[client_id].append(key)
    return grouped


def name_bytes(name: str) -> bytes:
    """The bytes that stand for a name. Raises `RepositoryError` when it has none."""
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise RepositoryError(f"the name {name!r} has no bytes") from error


def name_text(name: bytes | bytearray) -> str:
    """The name that these bytes stand for."""
    return bytes(name).decode("utf-8", "surrogateescape")


def _slices(values: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(values), BATCH_ROWS):
        yield values[start : start + BATCH_ROWS]


def _spread(sql: str, count: int) -> str:
    return sql.replace("?, ...", ", ".join("?" * count))
