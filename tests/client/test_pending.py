"""Unfinished uploads across processes."""

import os
from pathlib import Path

from client.pending import Pending, PendingUploads, Version

CLIENT_ID = bytes(16)


def claim(
    directory: Path, version: Version, name: str = "name", server: str = "host:1"
) -> tuple[bytes, bytes | None]:
    with PendingUploads(directory).claim(
        server, CLIENT_ID, name, Path("/file"), version
    ) as pending:
        return pending.upload_id, pending.stale_id


def test_the_same_version_is_resumed(tmp_path: Path) -> None:
    version = Version(5, -7)
    first, stale = claim(tmp_path, version)

    assert stale is None
    assert claim(tmp_path, version) == (first, None)
    assert claim(tmp_path, version, name="other")[0] != first
    assert claim(tmp_path, version, server="host:2")[0] != first


def test_another_version_is_another_upload_and_gives_the_first_one_up(tmp_path: Path) -> None:
    first, _ = claim(tmp_path, Version(5, 1))

    second, stale = claim(tmp_path, Version(5, 2))

    assert stale == first
    assert second != first
    assert claim(tmp_path, Version(5, 2)) == (second, None)


def test_what_is_done_is_forgotten(tmp_path: Path) -> None:
    uploads, version = PendingUploads(tmp_path / "new"), Version(5, 1)
    with uploads.claim("host:1", CLIENT_ID, "name", Path("/file"), version) as pending:
        first = pending.upload_id
        pending.renew()
        assert pending.upload_id != first
        pending.done()
    assert list((tmp_path / "new").iterdir()) == []


def test_two_at_once_use_two_uploads(tmp_path: Path) -> None:
    version = Version(5, 1)

    def claimed() -> "Pending":
        manager = PendingUploads(tmp_path).claim(
            "host:1", CLIENT_ID, "name", Path("/file"), version
        )
        managers.append(manager)
        return manager.__enter__()

    managers: list[object] = []
    first, second = claimed(), claimed()
    assert first.upload_id != second.upload_id
    second.renew()
    second.done()
    for manager in managers:
        manager.__exit__(None, None, None)  # type: ignore[attr-defined]
    assert claim(tmp_path, version)[0] == first.upload_id


def test_a_torn_record_is_begun_anew(tmp_path: Path) -> None:
    version = Version(5, 1)
    first, _ = claim(tmp_path, version)
    (record,) = tmp_path.iterdir()
    for torn in (b"", b"ab 5 1", b"\0" * 60, first.hex().encode(), b"xy 5 1"):
        record.write_bytes(torn)
        second, stale = claim(tmp_path, version)
        assert (stale, len(second)) == (None, 16)
        assert second != first
    assert record.stat().st_mode & 0o777 == 0o600


def test_old_records_are_swept(tmp_path: Path) -> None:
    claim(tmp_path, Version(5, 1))
    (record,) = tmp_path.iterdir()
    os.utime(record, (0, 0))

    claim(tmp_path, Version(5, 1), name="other")

    assert record not in set(tmp_path.iterdir())
