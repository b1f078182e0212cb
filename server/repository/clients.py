"""Statements about clients and about the tokens that let them register."""

from collections.abc import Iterator

from server.repository.errors import NameTaken, TokenRefused
from server.repository.records import Client, Token
from server.repository.transactions import (
    Dialect,
    DuplicateRow,
    Query,
    Row,
    SqlDatabase,
    Transaction,
    locked,
    name_bytes,
    name_text,
)

_CLIENT = "SELECT id, name, registered_at, last_seen, public_key, aes_key, disabled FROM clients "
_TOKEN = "SELECT digest, name, expires_at, created_at FROM tokens "  # noqa: S105 no password

# A pending upload has staged bytes, a complete one has only those of its file, if that is there.
_OBJECTS = (
    "SELECT object_id, client_id FROM files WHERE client_id = ? "
    "UNION SELECT object_id, client_id FROM uploads WHERE client_id = ? AND received_at IS NULL"
)


class ClientStatements(SqlDatabase):
    """The part of a repository that keeps clients and tokens."""

    def add_client(self, client: Client, token_digest: bytes | None = None) -> bytes:
        def add(transaction: Transaction) -> bytes:
            known = _registered_before(transaction, client)
            if known is not None:
                return known
            if token_digest is not None and not _use_token(transaction, token_digest, client):
                raise TokenRefused("the token is unknown, used, expired or for another name")
            _insert_client(transaction, client)
            return client.id

        return self._write(add)

    def find_client(self, client_id: bytes) -> Client | None:
        rows = self._read(Query(_CLIENT + "WHERE id = ?", (client_id,)))
        return _client(rows[0]) if rows else None

    def find_client_by_name(self, name: str) -> Client | None:
        rows = self._read(Query(_CLIENT + "WHERE name = ?", (name_bytes(name),)))
        return _client(rows[0]) if rows else None

    def set_public_key(
        self, client_id: bytes, public_key: bytes, wrapped_aes_key: bytes, now: int
    ) -> bool:
        return self._change(
            "UPDATE clients SET public_key = ?, aes_key = ?, last_seen = ? "
            "WHERE id = ? AND (public_key IS NULL OR public_key = ?)",
            public_key,
            wrapped_aes_key,
            now,
            client_id,
            public_key,
        )

    def record_reconnect(self, client_id: bytes, wrapped_aes_key: bytes, now: int) -> bool:
        return self._change(
            "UPDATE clients SET aes_key = ?, last_seen = ? WHERE id = ?",
            wrapped_aes_key,
            now,
            client_id,
        )

    def set_disabled(self, client_id: bytes, disabled: bool) -> bool:
        return self._change("UPDATE clients SET disabled = ? WHERE id = ?", disabled, client_id)

    def _change(self, sql: str, *parameters: bytes | int | None) -> bool:
        return self._write(lambda transaction: transaction.change(sql, *parameters)) > 0

    def remove_client(self, client_id: bytes) -> list[bytes] | None:
        return self._write(_Removal(client_id, self.dialect))

    def clients(self) -> Iterator[Client]:
        for row in self._batches(_CLIENT + "WHERE name >= ? ORDER BY name LIMIT ?"):
            yield _client(row)

    def add_token(self, token: Token) -> None:
        def add(transaction: Transaction) -> None:
            try:
                transaction.change(
                    "INSERT INTO tokens (digest, name, expires_at, created_at) VALUES (?, ?, ?, ?)",
                    token.digest,
                    None if token.name is None else name_bytes(token.name),
                    token.expires_at,
                    token.created_at,
                )
            except DuplicateRow:
                rows = transaction.rows(_TOKEN + "WHERE digest = ?", token.digest)
                if [_token(row) for row in rows] != [token]:
                    raise

        self._write(add)

    def tokens(self) -> list[Token]:
        rows = self._read(Query(_TOKEN + "ORDER BY created_at, digest"))
        return [_token(row) for row in rows]

    def remove_token(self, digest: bytes) -> bool:
        removed = 0

        def remove(transaction: Transaction) -> None:
            nonlocal removed  # a repetition finds that the first attempt removed it
            removed += transaction.change("DELETE FROM tokens WHERE digest = ?", digest)

        self._write(remove)
        return removed > 0


class _Removal:
    """One call of `remove_client`, which remembers what its earlier attempts removed."""

    def __init__(self, client_id: bytes, dialect: Dialect) -> None:
        self._client_id = client_id
        self._dialect = dialect
        self._removed: list[bytes] | None = None

    def __call__(self, transaction: Transaction) -> list[bytes] | None:
        own = self._client_id
        if not locked(transaction, self._dialect, own):
            return self._removed
        objects = [bytes(row[0]) for row in transaction.rows(_OBJECTS, own, own)]
        transaction.change("INSERT INTO superseded (object_id, client_id) " + _OBJECTS, own, own)
        transaction.change("DELETE FROM uploads WHERE client_id = ?", own)
        transaction.change("DELETE FROM files WHERE client_id = ?", own)
        transaction.change("DELETE FROM clients WHERE id = ?", own)
        self._removed = objects
        return objects


def _use_token(transaction: Transaction, digest: bytes, client: Client) -> bool:
    # Checked and used up by one statement: of two who come at once the second finds no row.
    return bool(
        transaction.change(
            "DELETE FROM tokens WHERE digest = ? AND expires_at > ? AND (name IS NULL OR name = ?)",
            digest,
            client.registered_at,
            name_bytes(client.name),
        )
    )


def _insert_client(transaction: Transaction, client: Client) -> None:
    try:
        transaction.change(
            "INSERT INTO clients "
            "(id, name, registered_at, last_seen, public_key, aes_key, disabled) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            client.id,
            name_bytes(client.name),
            client.registered_at,
            client.last_seen,
            client.public_key,
            client.wrapped_aes_key,
            client.disabled,
        )
    except DuplicateRow:
        if transaction.rows("SELECT id FROM clients WHERE name = ?", name_bytes(client.name)):
            raise NameTaken(f"a client named {client.name!r} is registered") from None
        raise


def _registered_before(transaction: Transaction, client: Client) -> bytes | None:
    """The id of this very client, whose registration was committed before its answer was lost.

    The id that we made is known to nobody else before it is given out; the key of protocol 4 is
    known to its owner and to us.
    """
    rows = transaction.rows(
        "SELECT id FROM clients WHERE (id = ? OR public_key = ?) AND name = ?",
        client.id,
        client.public_key,
        name_bytes(client.name),
    )
    return bytes(rows[0][0]) if rows else None


def _client(row: Row) -> Client:
    client_id, name, registered_at, last_seen, public_key, wrapped_aes_key, disabled = row
    return Client(
        id=bytes(client_id),
        name=name_text(name),
        registered_at=registered_at,
        last_seen=last_seen,
        public_key=None if public_key is None else bytes(public_key),
        wrapped_aes_key=None if wrapped_aes_key is None else bytes(wrapped_aes_key),
        disabled=bool(disabled),
    )


def _token(row: Row) -> Token:
    digest, name, expires_at, created_at = row
    return Token(
        digest=bytes(digest),
        name=None if name is None else name_text(name),
        expires_at=expires_at,
        created_at=created_at,
    )
