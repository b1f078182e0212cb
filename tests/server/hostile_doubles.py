"""Databases and disks that fail when a test says so."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.repository import (
    Client,
    Event,
    Publication,
    Published,
    Renamed,
    Repository,
    RepositoryUnavailable,
    Sign,
    StoredFile,
    Token,
    Upload,
    Usage,
)


class FailingRepository(Repository):
    """A real repository whose next `failures` calls raise instead of being carried out."""

    def __init__(self, real: Repository) -> None:
        self._real = real
        self.failures = 0

    def _passable(self) -> Repository:
        if self.failures:
            self.failures -= 1
            raise RepositoryUnavailable("the test switched the database off")
        return self._real

    # Clients and tokens

    def add_client(self, client: Client, token_digest: bytes | None = None) -> bytes:
        return self._passable().add_client(client, token_digest)

    def find_client(self, client_id: bytes) -> Client | None:
        return self._passable().find_client(client_id)

    def find_client_by_name(self, name: str) -> Client | None:
        return self._passable().find_client_by_name(name)

    def set_public_key(
        self, client_id: bytes, public_key: bytes, wrapped_aes_key: bytes, now: int
    ) -> bool:
        return self._passable().set_public_key(client_id, public_key, wrapped_aes_key, now)

    def record_reconnect(self, client_id: bytes, wrapped_aes_key: bytes, now: int) -> bool:
        return self._passable().record_reconnect(client_id, wrapped_aes_key, now)

    def set_disabled(self, client_id: bytes, disabled: bool) -> bool:
        return self._passable().set_disabled(client_id, disabled)

    def remove_client(self, client_id: bytes) -> list[bytes] | None:
        return self._passable().remove_client(client_id)

    def clients(self) -> Iterator[Client]:
        return self._passable().clients()

    def add_token(self, token: Token) -> None:
        self._passable().add_token(token)

    def tokens(self) -> list[Token]:
        return self._passable().tokens()

    def remove_token(self, digest: bytes) -> bool:
        return self._passable().remove_token(digest)

    # Uploads

    def begin_upload(self, upload: Upload) -> Upload:
        return self._passable().begin_upload(upload)

    def find_upload(self, client_id: bytes, upload_id: bytes) -> Upload | None:
        return self._passable().find_upload(client_id, upload_id)

    def drop_upload(self, client_id: bytes, upload_id: bytes) -> bool:
        return self._passable().drop_upload(client_id, upload_id)

    def pending_uploads(self) -> Iterator[Upload]:
        return self._passable().pending_uploads()

    def pending_of(self, client_id: bytes) -> Usage:
        return self._passable().pending_of(client_id)

    def forget_completed_uploads(self, before: int) -> None:
        self._passable().forget_completed_uploads(before)

    # Files

    def publish(
        self,
        publications: Sequence[Publication],
        sign: Sign | None = None,
        event: Event | None = None,
    ) -> list[Published]:
        return self._passable().publish(publications, sign, event)

    def publish_file(self, file: StoredFile, event: Event | None = None) -> bytes | None:
        return self._passable().publish_file(file, event)

    def find_file(self, client_id: bytes, name: str) -> StoredFile | None:
        return self._passable().find_file(client_id, name)

    def list_files(self, client_id: bytes, prefix: str, after: str, limit: int) -> list[StoredFile]:
        return self._passable().list_files(client_id, prefix, after, limit)

    def files(self, client_id: bytes) -> Iterator[StoredFile]:
        return self._passable().files(client_id)

    def remove_file(self, client_id: bytes, name: str) -> bytes | None:
        return self._passable().remove_file(client_id, name)

    def rename_file(self, client_id: bytes, old: str, new: str, *, replace: bool) -> Renamed:
        return self._passable().rename_file(client_id, old, new, replace=replace)

    def usage(self, client_id: bytes) -> Usage:
        return self._passable().usage(client_id)

    def known_objects(self, client_id: bytes, object_ids: Sequence[bytes]) -> set[bytes]:
        return self._passable().known_objects(client_id, object_ids)

    def superseded(self) -> list[tuple[bytes, bytes]]:
        return self._passable().superseded()

    def forget_superseded(self, object_id: bytes) -> None:
        self._passable().forget_superseded(object_id)

    def record(self, events: Sequence[Event]) -> None:
        self._passable().record(events)

    def events(self, since: int = 0, client: str | None = None) -> Iterator[Event]:
        return self._passable().events(since, client)

    def forget_events(self, before: int) -> int:
        return self._passable().forget_events(before)

    def pairing(self) -> tuple[bytes, int] | None:
        return self._passable().pairing()

    def claim(self, directory_id: bytes) -> bytes:
        return self._passable().claim(directory_id)

    def upgrade(self) -> None:
        self._passable().upgrade()

    def hold(self, given_up: Callable[[], bool] | None = None) -> None:
        self._passable().hold(given_up)

    def keep_hold(self) -> None:
        self._passable().keep_hold()

    def begin_use(self, before: int, now: int) -> None:
        self._passable().begin_use(before, now)

    @property
    def taken_over(self) -> bool:
        return self._real.taken_over

    def copy_to(self, path: Path) -> None:
        self._passable().copy_to(path)

    def is_empty(self) -> bool:
        return self._passable().is_empty()

    def fill_from(self, copy: Path, event: Event) -> None:
        self._passable().fill_from(copy, event)

    def close(self) -> None:
        self._real.close()


@contextmanager
def disk_failing(call: str, *, after: int = 0, times: int = 1) -> Iterator[None]:
    """Lets `os.write`, `os.fsync` or `os.rename` fail with EIO: `after` calls succeed, then `times`
    calls fail, then all succeed again. SQLite makes its own system calls and is not affected."""
    real: Callable[..., Any] = getattr(os, call)
    calls = 0

    def failing(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - any system call
        nonlocal calls
        calls += 1
        if after < calls <= after + times:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, failing)
        yield


def listing(directory: Path) -> set[Path]:
    """Everything below a directory."""
    return set(directory.rglob("*"))
