"""Which data directory a database belongs to."""

from server.repository.transactions import Query, SqlDatabase


class DirectoryStatements(SqlDatabase):
    """One row, whose key lets no second one in."""

    def data_directory(self) -> bytes | None:
        rows = self._read(Query("SELECT id FROM data_directory"))
        return bytes(rows[0][0]) if rows else None

    def claim(self, directory_id: bytes) -> bytes:
        sql = f"INSERT INTO data_directory (place, id) VALUES (1, ?) {self.dialect.skip_present}"  # noqa: S608 - one of two constants
        self._write(lambda transaction: transaction.change(sql, directory_id))
        # In another transaction: this one may have begun before whoever was first had committed.
        return self.data_directory() or directory_id
