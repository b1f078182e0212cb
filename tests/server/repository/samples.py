"""Clients, files and uploads for the tests, each with ids of its own."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from protocol.messages4 import Policy
from server.repository import Client, Publication, StoredFile, Upload

T = TypeVar("T")
R = TypeVar("R")

MODIFIED = 1_600_000_000_123_456_789


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
    """A file of protocol 3 that has not been published yet."""
    return StoredFile(
        client_id=owner.id,
        name=name,
        object_id=os.urandom(16),
        size=size,
        cksum=cksum,
        received_at=received_at,
    )


def content4(
    owner: Client,
    name: str = "report.txt",
    *,
    size: int = 1234,
    modified: int = MODIFIED,
    received_at: int = 1_700_000_002,
) -> StoredFile:
    """A file of protocol 4 that has not been published yet."""
    return StoredFile(
        client_id=owner.id,
        name=name,
        object_id=os.urandom(16),
        size=size,
        cksum=None,
        received_at=received_at,
        sha256=os.urandom(32),
        modified=modified,
        mode=0o640,
    )


def publication(
    file: StoredFile, policy: Policy = Policy.ALWAYS, *, upload_id: bytes | None = None
) -> Publication:
    """A small file of protocol 4, with an upload id of its own."""
    return Publication(file, upload_id or os.urandom(16), policy)


def upload(
    owner: Client,
    name: str = "report.txt",
    *,
    size: int | None = 5000,
    begun_at: int = 1_700_000_001,
) -> Upload:
    """An upload that has not been begun yet."""
    return Upload(
        client_id=owner.id,
        upload_id=os.urandom(16),
        object_id=os.urandom(16),
        name=name,
        size=size,
        modified=MODIFIED,
        mode=0o640,
        policy=Policy.ALWAYS,
        begun_at=begun_at,
    )


def completion(
    begun: Upload, *, received_at: int = 1_700_000_002, policy: Policy = Policy.ALWAYS
) -> Publication:
    """The end of an upload that was begun."""
    file = StoredFile(
        client_id=begun.client_id,
        name=begun.name,
        object_id=begun.object_id,
        size=begun.size or 77,
        cksum=None,
        received_at=received_at,
        sha256=os.urandom(32),
        modified=begun.modified,
        mode=begun.mode,
    )
    return Publication(file, begun.upload_id, policy)


def receipt_of(accepted: Publication) -> bytes:
    """What stands for its receipt here."""
    return b"receipt for " + accepted.file.object_id


def sign(accepted: Sequence[Publication]) -> list[bytes]:
    """As `publish` takes it."""
    return [receipt_of(each) for each in accepted]


def at_once(task: Callable[[T], R], subjects: Sequence[T]) -> list[R]:
    """The task's results for all subjects, each in a thread of its own."""
    with ThreadPoolExecutor(len(subjects)) as threads:
        return list(threads.map(task, subjects))
