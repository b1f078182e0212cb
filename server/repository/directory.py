"""Which data directory a database belongs to."""

from server.repository.transactions import Query, SqlDatabase

_INSERT = "INSERT INTO data_directory (place, id) VALUES (1, ?) "


class DirectoryStatements(SqlDatabase):
    """One row, whose key lets no second one in."""

    def data_directory(self) -> bytes | None:
        rows = self._read(Query("SELECT id FROM data_directory"))
        return bytes(rows[0][0]) if rows else None

    def claim(self, directory_id: bytes) -> bytes:
        sql = _INSERT + self.dialect.skip_present
        self._write(lambda transaction: transaction.change(sql, directory_id))
        # In another transaction: this one may have begun before whoever was first had committed.
        return self.data_directory() or directory_id
