"""Clients and files for the tests, each with ids of its own."""

import os

from server.repository import Client, StoredFile


def client(
    name: str = "Alice", *, public_key: bytes | None = None, wrapped_aes_key: bytes | None = None
) -> Client:
    """A client that nobody has registered yet."""
    return Client(
        id=os.urandom(16),
        name=name,
        registered_at=1_700_000_000,
        last_seen=1_700_000_001,
        public_key=public_key,
        wrapped_aes_key=wrapped_aes_key,
    )


def stored_file(
    owner: Client,
    name: str = "report.txt",
    *,
    size: int = 1234,
    cksum: int = 0xDEADBEEF,
    received_at: int = 1_700_000_002,
) -> StoredFile:
    """An upload that has not been published yet."""
    return StoredFile(
        client_id=owner.id,
        name=name,
        upload_id=os.urandom(16),
        size=size,
        cksum=cksum,
        received_at=received_at,
    )
