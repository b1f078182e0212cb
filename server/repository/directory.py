"""Which data directory a database belongs to, and which server uses it."""

import os
from abc import abstractmethod

from server.repository.errors import DatabaseInUse
from server.repository.transactions import Query, SqlDatabase, T, Transaction, Work

_INSERT = "INSERT INTO data_directory (place, id) VALUES (1, ?) "
_USED_BY = "SELECT used_by FROM data_directory WHERE place = 1"


class DirectoryStatements(SqlDatabase):
    """One row, whose key lets no second one in.

    A lock alone keeps servers apart only while it is held, and it goes with its connection. So each
    server writes an id of its own into the row when it begins, and each of its transactions looks
    whether that is still there."""

    _use: bytes | None = None
    _taken_over = False

    def pairing(self) -> tuple[bytes, int] | None:
        rows = self._read(Query("SELECT id, starts FROM data_directory"))
        return (bytes(rows[0][0]), int(rows[0][1])) if rows else None

    def claim(self, directory_id: bytes) -> bytes:
        sql = _INSERT + self.dialect.skip_present
        self._write(lambda transaction: transaction.change(sql, directory_id))
        # In another transaction: this one may have begun before whoever was first had committed.
        known = self.pairing()
        return directory_id if known is None else known[0]

    def begin_use(self, before: int, now: int) -> None:
        use = os.urandom(16)

        def begin(transaction: Transaction) -> bool:
            transaction.change(
                "UPDATE data_directory SET starts = ?, used_by = ? WHERE place = 1 AND starts = ?",
                *(now, use, before),
            )
            return _is_used_by(transaction, use)

        if not self._write(begin):
            raise DatabaseInUse(f"{self._named()}: another server has begun to use it just now")
        self._use = use

    @property
    def taken_over(self) -> bool:
        return self._taken_over

    def _guarded(self, work: Work[T]) -> Work[T]:
        """The work, unless another server has begun; none can before this transaction ends."""

        def guarded(transaction: Transaction) -> T:
            self._look(transaction, self.dialect.share_row)
            return work(transaction)

        return guarded

    def _look(self, transaction: Transaction, lock: str = "") -> None:
        if self._use is not None and not _is_used_by(transaction, self._use, lock):
            self._taken_over = True
            raise DatabaseInUse(f"{self._named()}: another server has begun to use it")

    def _in_use(self) -> DatabaseInUse:
        return DatabaseInUse(
            f"{self._named()} is in use by another server: stop that one, or give each a --data and"
            " a --database of its own; if its machine has just died, try again in a minute"
        )

    @abstractmethod
    def _named(self) -> str:
        """The database as messages name it."""


def _is_used_by(transaction: Transaction, use: bytes, lock: str = "") -> bool:
    rows = transaction.rows(_USED_BY + lock)
    return bool(rows) and rows[0][0] is not None and bytes(rows[0][0]) == use
