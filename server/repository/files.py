"""Statements about files that are visible, and about objects that no name leads to any more."""

from collections.abc import Iterator, Sequence

from server.repository.publishing import Batch, supersede
from server.repository.records import (
    Event,
    Publication,
    Published,
    Renamed,
    Renaming,
    Sign,
    StoredFile,
    Usage,
)
from server.repository.transactions import (
    Dialect,
    Parameter,
    Query,
    Row,
    SqlDatabase,
    Transaction,
    locked,
    name_bytes,
    name_text,
    rows_of,
)

_FILE = (
    "SELECT client_id, file_name, object_id, size, cksum, received_at, sha256, modified, mode "
    "FROM files WHERE client_id = ? AND verified = 1 "
)
_OBJECT = "SELECT object_id FROM files WHERE client_id = ? AND file_name = ?"


class FileStatements(SqlDatabase):
    """The part of a repository that keeps files."""

    def publish(
        self,
        publications: Sequence[Publication],
        sign: Sign | None = None,
        event: Event | None = None,
    ) -> list[Published]:
        batch = Batch(publications, self.dialect, sign, event)
        return self._write(batch) if publications else []

    def publish_file(self, file: StoredFile, event: Event | None = None) -> bytes | None:
        (published,) = self.publish([Publication(file)], event=event)
        return published.superseded

    def find_file(self, client_id: bytes, name: str) -> StoredFile | None:
        rows = self._read(Query(_FILE + "AND file_name = ?", (client_id, name_bytes(name))))
        return _stored_file(rows[0]) if rows else None

    def list_files(self, client_id: bytes, prefix: str, after: str, limit: int) -> list[StoredFile]:
        # A range of the primary key, since LIKE knows wildcards and, on SQLite, no bytes.
        beginning = name_bytes(prefix)
        start = max(beginning, name_bytes(after) + b"\0")
        sql = _FILE + "AND file_name >= ? "
        parameters: tuple[Parameter, ...] = (client_id, start)
        end = _behind(beginning)
        if end:
            sql += "AND file_name < ? "
            parameters += (end,)
        rows = self._read(Query(sql + "ORDER BY file_name LIMIT ?", (*parameters, limit)))
        return [_stored_file(row) for row in rows]

    def files(self, client_id: bytes) -> Iterator[StoredFile]:
        by_name = _FILE + "AND file_name >= ? ORDER BY file_name LIMIT ?"
        for row in self._batches(by_name, client_id):
            yield _stored_file(row)

    def remove_file(self, client_id: bytes, name: str) -> bytes | None:
        return self._write(_Removal(client_id, name_bytes(name), self.dialect))

    def rename_file(self, client_id: bytes, old: str, new: str, *, replace: bool) -> Renamed:
        return self._write(
            _Renaming(client_id, name_bytes(old), name_bytes(new), self.dialect, replace=replace)
        )

    def usage(self, client_id: bytes) -> Usage:
        # Summed in two halves: SQLite refuses a sum beyond 2^63-1, which two sizes can reach.
        ((count, high, low),) = self._read(
            Query(
                "SELECT COUNT(*), SUM(size >> 32), SUM(size & 4294967295) FROM files "
                "WHERE client_id = ? AND verified = 1",
                (client_id,),
            )
        )
        return Usage(files=count, size=(int(high or 0) << 32) + int(low or 0))

    def known_objects(self, client_id: bytes, object_ids: Sequence[bytes]) -> set[bytes]:
        def known(transaction: Transaction) -> set[bytes]:
            # A commit whose answer was lost may be under way still; it has the client's turn.
            locked(transaction, self.dialect, client_id)
            return {
                bytes(row[0])
                for table in ("files", "uploads", "superseded")
                for row in rows_of(
                    transaction,
                    f"SELECT object_id FROM {table} "  # noqa: S608 - constants
                    "WHERE client_id = ? AND object_id IN (?, ...)",
                    object_ids,
                    client_id,
                )
            }

        return self._write(known)

    def superseded(self) -> list[tuple[bytes, bytes]]:
        rows = self._read(Query("SELECT client_id, object_id FROM superseded"))
        return [(bytes(client_id), bytes(object_id)) for client_id, object_id in rows]

    def forget_superseded(self, object_id: bytes) -> None:
        self._write(
            lambda transaction: transaction.change(
                "DELETE FROM superseded WHERE object_id = ?", object_id
            )
        )


class _Removal:
    """One call of `remove_file`, which remembers what its earlier attempts saw: a name that leads
    to another object by now must not lose that one."""

    def __init__(self, client_id: bytes, name: bytes, dialect: Dialect) -> None:
        self._key = (client_id, name)
        self._dialect = dialect
        self._seen: bytes | None = None

    def __call__(self, transaction: Transaction) -> bytes | None:
        client_id, name = self._key
        locked(transaction, self._dialect, client_id)
        current = _object_of(transaction, client_id, name)
        if self._seen is not None and current != self._seen:
            return self._seen if _is_gone(transaction, self._seen) else None
        if current is not None:
            _take_away(transaction, client_id, name, current)
        self._seen = current  # only once all that can undo it is the commit
        return current


class _Renaming:
    """One call of `rename_file`, which remembers what its earlier attempts saw, for the same reason
    as `_Removal`."""

    def __init__(
        self, client_id: bytes, old: bytes, new: bytes, dialect: Dialect, *, replace: bool
    ) -> None:
        self._client_id = client_id
        self._old = old
        self._new = new
        self._dialect = dialect
        self._replace = replace
        self._moves: bytes | None = None
        self._replaces: bytes | None = None

    def __call__(self, transaction: Transaction) -> Renamed:
        locked(transaction, self._dialect, self._client_id)
        moving = _object_of(transaction, self._client_id, self._old)
        if self._moves is not None and moving != self._moves:
            return Renamed(Renaming.DONE, self._still_superseded(transaction))
        if moving is None:
            return Renamed(Renaming.NOT_FOUND)
        if self._old == self._new:
            return Renamed(Renaming.DONE)
        replaced = _object_of(transaction, self._client_id, self._new)
        if replaced is not None and not self._replace:
            return Renamed(Renaming.EXISTS)
        if replaced is not None:
            _take_away(transaction, self._client_id, self._new, replaced)
        transaction.change(
            "UPDATE files SET file_name = ? WHERE client_id = ? AND file_name = ?",
            self._new,
            self._client_id,
            self._old,
        )
        self._moves, self._replaces = moving, replaced
        return Renamed(Renaming.DONE, replaced)

    def _still_superseded(self, transaction: Transaction) -> bytes | None:
        if self._replaces is not None and _is_gone(transaction, self._replaces):
            return self._replaces
        return None


def _object_of(transaction: Transaction, client_id: bytes, name: bytes) -> bytes | None:
    rows = transaction.rows(_OBJECT, client_id, name)
    return bytes(rows[0][0]) if rows else None


def _is_gone(transaction: Transaction, object_id: bytes) -> bool:
    """Whether no name leads to the object, which may have got another name meanwhile."""
    return not transaction.rows("SELECT object_id FROM files WHERE object_id = ?", object_id)


def _take_away(transaction: Transaction, client_id: bytes, name: bytes, object_id: bytes) -> None:
    transaction.change("DELETE FROM files WHERE client_id = ? AND file_name = ?", client_id, name)
    supersede(transaction, [(object_id, client_id)])


def _behind(prefix: bytes) -> bytes:
    """The smallest bytes behind everything that begins with `prefix`; empty when nothing is."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b""


def _stored_file(row: Row) -> StoredFile:
    client_id, name, object_id, size, cksum, received_at, sha256, modified, mode = row
    return StoredFile(
        client_id=bytes(client_id),
        name=name_text(name),
        object_id=bytes(object_id),
        size=size,
        cksum=cksum,
        received_at=received_at,
        sha256=None if sha256 is None else bytes(sha256),
        modified=modified,
        mode=mode,
    )
