"""Statements about the audit trail, to which rows are only ever appended."""

from collections.abc import Iterator, Sequence

from server.repository import transactions
from server.repository.records import DONE, Action, Event
from server.repository.transactions import (
    Dialect,
    Parameter,
    Query,
    Row,
    SqlDatabase,
    Transaction,
    name_bytes,
    name_text,
)

_INSERT = (
    "INSERT INTO audit (at, id, action, outcome, client_id, client_name, address, operator, "
    "subjects, target, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
)
# Two comparisons, since MySQL does not use the key where (at, id) is compared with a pair.
_EVENTS = (
    "SELECT at, id, action, outcome, client_id, client_name, address, operator, subjects, "
    "target, size FROM audit WHERE at >= ? AND (at > ? OR id > ?) "
)
_MOST_WORD = 255


class TrailStatements(SqlDatabase):
    """The part of a repository that keeps the audit trail."""

    def record(self, events: Sequence[Event]) -> None:
        def work(transaction: Transaction) -> None:
            append(transaction, self.dialect, events)
            _note_seen(transaction, events)

        if events:
            self._write(work)

    def events(self, since: int = 0, client: str | None = None) -> Iterator[Event]:
        at, last = since, b""
        sql, parameters = _EVENTS, ()  # type: tuple[str, tuple[Parameter, ...]]
        if client is not None:
            sql, parameters = sql + "AND client_name = ? ", (name_bytes(client),)
        sql += "ORDER BY at, id LIMIT ?"
        while True:
            size = transactions.BATCH_ROWS
            rows = self._read(Query(sql, (at, at, last, *parameters, size)))
            for row in rows:
                yield _event(row)
            if len(rows) < size:
                return
            at, last = rows[-1][0], bytes(rows[-1][1])

    def forget_events(self, before: int) -> int:
        forgotten = 0
        while removed := self._write(lambda transaction: _forget(transaction, before)):
            forgotten += removed
        return forgotten


def append(transaction: Transaction, dialect: Dialect, events: Sequence[Event]) -> None:
    """Appends events within a transaction; those that are there already are passed over."""
    transaction.insert(_INSERT + dialect.skip_present, [_row(event) for event in events])


def _note_seen(transaction: Transaction, events: Sequence[Event]) -> None:
    seen: dict[bytes, int] = {}
    for event in events:
        if event.action is Action.CONNECT and event.outcome == DONE and event.client_id:
            seen[event.client_id] = max(seen.get(event.client_id, 0), event.at // 10**6)
    # In the order of their ids, as everybody locks clients on MySQL.
    for client_id, at in sorted(seen.items()):
        transaction.change(
            "UPDATE clients SET last_seen = ? WHERE id = ? AND last_seen < ?", at, client_id, at
        )


def _forget(transaction: Transaction, before: int) -> int:
    # A bounded number at a time: nobody else can write while SQLite removes them.
    found = transaction.rows(
        "SELECT at FROM audit WHERE at < ? ORDER BY at LIMIT ?", before, transactions.BATCH_ROWS
    )
    if not found:
        return 0
    return transaction.change("DELETE FROM audit WHERE at <= ?", found[-1][0])


def _row(event: Event) -> tuple[Parameter, ...]:
    return (
        event.at,
        event.id,
        event.action.value,
        event.outcome[:_MOST_WORD],
        event.client_id,
        None if event.client is None else name_bytes(event.client),
        event.address[:_MOST_WORD],
        event.operator[:_MOST_WORD],
        name_bytes("\n".join(event.subjects)),
        None if event.target is None else name_bytes(event.target),
        event.size,
    )


def _event(row: Row) -> Event:
    at, event_id, action, outcome, client_id, client, address, operator, names, target, size = row
    return Event(
        action=Action(action),
        outcome=outcome,
        client_id=None if client_id is None else bytes(client_id),
        client=None if client is None else name_text(client),
        address=address,
        operator=operator,
        subjects=tuple(name_text(names).split("\n")) if names else (),
        target=None if target is None else name_text(target),
        size=size,
        at=at,
        id=bytes(event_id),
    )
