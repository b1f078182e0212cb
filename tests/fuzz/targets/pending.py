"""The files that remember unfinished uploads, torn or altered."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from client.pending import PendingUploads, Version
from tests.fuzz import scratch
from tests.fuzz.target import Target, must

_VERSION = Version(1_048_577, 1_700_000_000_123_456_789)
_CLIENT_ID = bytes(range(16))
_KNOWN = bytes(range(16, 32))


@cache
def _opened() -> tuple[PendingUploads, Path]:
    directory = scratch.directory("pending")
    uploads = PendingUploads(directory)
    with _claim(uploads):
        return uploads, next(directory.iterdir())


def _claim(uploads: PendingUploads):  # type: ignore[no-untyped-def] # noqa: ANN202 - as `claim`
    return uploads.claim("127.0.0.1:1234", _CLIENT_ID, "name", Path("/local"), _VERSION)


def _run(data: bytes) -> None:
    uploads, path = _opened()
    path.write_bytes(data)
    with _claim(uploads) as pending:
        upload_id, stale = pending.upload_id, pending.stale_id
    must(len(upload_id) == 16, "there is an upload id")
    must(stale is None or len(stale) == 16, "a stale upload id has 16 bytes")
    if data == _line(_KNOWN, _VERSION):
        must(upload_id == _KNOWN and stale is None, "an upload of this version is resumed")
    with _claim(uploads) as pending:
        must(pending.upload_id == upload_id, "what was claimed is claimed again")


def _line(upload_id: bytes, version: Version) -> bytes:
    return f"{upload_id.hex()} {version.size} {version.modified}\n".encode()


def _seeds() -> Iterable[bytes]:
    yield _line(_KNOWN, _VERSION)
    yield _line(_KNOWN, Version(1, 2))
    yield _line(_KNOWN, _VERSION)[:40]
    yield b"\0" * 60
    yield b""


TARGET = Target("pending", "client/pending.py", _run, _seeds, max_bytes=260)
