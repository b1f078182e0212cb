"""Statements about uploads that can be resumed, and about those that are complete."""

from collections.abc import Iterator

from protocol.messages4 import Policy
from server.repository import transactions
from server.repository.errors import UnknownClient
from server.repository.records import Upload, Usage
from server.repository.transactions import (
    Query,
    Row,
    SqlDatabase,
    Transaction,
    by_client,
    change_rows,
    locked,
    name_bytes,
    name_text,
)

# A row is complete once it has a time of receipt. `received_at` leads the second index of the
# table, so that the few pending rows are found among any number of complete ones.
_UPLOAD = (
    "SELECT client_id, upload_id, object_id, file_name, size, modified, mode, policy, begun_at, "
    "receipt FROM uploads "
)
_PENDING = _UPLOAD + "WHERE received_at IS NULL "


class UploadStatements(SqlDatabase):
    """The part of a repository that keeps uploads."""

    def begin_upload(self, upload: Upload) -> Upload:
        def begin(transaction: Transaction) -> Upload:
            if not locked(transaction, self.dialect, upload.client_id):
                raise UnknownClient(f"no client has the id {upload.client_id.hex()}")
            known = _find(transaction, upload.client_id, upload.upload_id)
            if known is None:
                _insert(transaction, upload)
            return known or upload

        return self._write(begin)

    def find_upload(self, client_id: bytes, upload_id: bytes) -> Upload | None:
        return self._read(lambda transaction: _find(transaction, client_id, upload_id))

    def drop_upload(self, client_id: bytes, upload_id: bytes) -> bool:
        seen = False

        def drop(transaction: Transaction) -> bool:
            nonlocal seen  # a repetition finds that the first attempt dropped it
            locked(transaction, self.dialect, client_id)
            known = _find(transaction, client_id, upload_id)
            if known is None:
                return seen
            seen = known.receipt is None
            if seen:
                transaction.change(
                    "DELETE FROM uploads WHERE client_id = ? AND upload_id = ?",
                    client_id,
                    upload_id,
                )
            return seen

        return self._write(drop)

    def pending_uploads(self) -> Iterator[Upload]:
        batch = "AND (client_id, upload_id) > (?, ?) ORDER BY client_id, upload_id LIMIT ?"
        last = (b"", b"")
        while True:
            rows = self._read(Query(_PENDING + batch, (*last, transactions.BATCH_ROWS)))
            yield from map(_upload, rows)
            if len(rows) < transactions.BATCH_ROWS:
                return
            last = (bytes(rows[-1][0]), bytes(rows[-1][1]))

    def pending_of(self, client_id: bytes) -> Usage:
        # In two halves, like the usage of files.
        ((count, high, low),) = self._read(
            Query(
                "SELECT COUNT(*), SUM(size >> 32), SUM(size & 4294967295) FROM uploads "
                "WHERE received_at IS NULL AND client_id = ?",
                (client_id,),
            )
        )
        return Usage(files=count, size=(int(high or 0) << 32) + int(low or 0))

    def forget_completed_uploads(self, before: int) -> None:
        # In parts: millions of rows would take longer than other writers wait, and MySQL's answer
        # may take.
        while self._write(lambda transaction: _forget_complete(transaction, before)):
            pass


def _forget_complete(transaction: Transaction, before: int) -> bool:
    """Forgets some uploads and tells whether there were any."""
    old = "SELECT client_id, upload_id FROM uploads WHERE received_at < ? LIMIT ?"
    rows = transaction.rows(old, before, transactions.BATCH_ROWS)
    keys = [(bytes(client_id), bytes(upload_id)) for client_id, upload_id in rows]
    for client_id, ids in by_client(keys).items():
        change_rows(
            transaction,
            "DELETE FROM uploads WHERE received_at < ? AND client_id = ? AND upload_id IN (?, ...)",
            ids,
            before,
            client_id,
        )
    return bool(rows)


def _find(transaction: Transaction, client_id: bytes, upload_id: bytes) -> Upload | None:
    rows = transaction.rows(_UPLOAD + "WHERE client_id = ? AND upload_id = ?", client_id, upload_id)
    return _upload(rows[0]) if rows else None


def _insert(transaction: Transaction, upload: Upload) -> None:
    transaction.change(
        "INSERT INTO uploads (client_id, upload_id, object_id, file_name, size, modified, mode, "
        "policy, begun_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        upload.client_id,
        upload.upload_id,
        upload.object_id,
        name_bytes(upload.name),
        upload.size,
        upload.modified,
        upload.mode,
        int(upload.policy),
        upload.begun_at,
    )


def _upload(row: Row) -> Upload:
    client_id, upload_id, object_id, name, size, modified, mode, policy, begun_at, receipt = row
    return Upload(
        client_id=bytes(client_id),
        upload_id=bytes(upload_id),
        object_id=bytes(object_id),
        name=name_text(name),
        size=size,
        modified=modified,
        mode=mode,
        policy=Policy(policy),
        begun_at=begun_at,
        receipt=None if receipt is None else bytes(receipt),
    )
