"""What a client may send, and how an upload becomes a file or nothing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.errors import LimitReached, StorageError
from server.receiving import Upload
from server.repository import RepositoryUnavailable
from tests.server.on_disk import (
    ALICE,
    NOW,
    OnDisk,
    Steps,
    cksum,
    disk_full,
    io_error,
    watch,
    watch_commits,
)

BOB = b"\xbb" * 16


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OnDisk]:
    """A server that knows Alice and Bob."""
    with OnDisk(tmp_path / "data") as server:
        server.register()
        server.register(BOB, "Bob")
        yield server


def _unavailable() -> RepositoryUnavailable:
    return RepositoryUnavailable("the database is away")


# Publication


def test_a_published_file_is_visible_with_its_bytes(server: OnDisk) -> None:
    server.keep("a", b"content")
    assert server.visible() == {"a": b"content"}


def test_a_published_file_is_recorded_with_size_checksum_and_time(server: OnDisk) -> None:
    upload = server.keep("a", b"content")
    file = server.repository.find_file(ALICE, "a")
    assert file is not None
    assert (file.size, file.cksum, file.received_at) == (7, cksum(b"content"), NOW)
    assert file.object_id == upload.object_id


def test_an_empty_file_is_published(server: OnDisk) -> None:
    server.receiver.begin(ALICE, "empty", 16).publish()
    assert server.visible() == {"empty": b""}


def test_an_upload_counts_and_sums_up_what_is_written(server: OnDisk) -> None:
    upload = server.upload("a", b"123456789")
    assert (upload.size, upload.checksum) == (9, 930766865)
    upload.discard()


def test_a_file_that_is_not_published_is_visible_to_nobody(server: OnDisk) -> None:
    upload = server.upload("a", b"content")
    assert not server.visible()
    upload.discard()


def test_a_discarded_upload_leaves_nothing(server: OnDisk) -> None:
    server.upload("a", b"content").discard()
    assert not server.staged()
    assert not server.visible()


def test_discarding_again_is_harmless(server: OnDisk) -> None:
    upload = server.upload("a", b"content")
    upload.discard()
    upload.discard()


def test_an_older_file_stays_visible_until_the_new_one_is_published(server: OnDisk) -> None:
    server.keep("a", b"older")
    upload = server.upload("a", b"newer")
    assert server.visible() == {"a": b"older"}
    upload.publish()
    assert server.visible() == {"a": b"newer"}


def test_the_replaced_files_bytes_are_removed(server: OnDisk) -> None:
    server.keep("a", b"older")
    newer = server.keep("a", b"newer")
    assert server.objects() == {newer.object_id.hex()}
    assert not server.repository.superseded()


def test_a_replaced_object_that_cannot_be_removed_does_not_fail_the_new_file(
    server: OnDisk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    older = server.keep("a", b"older")
    upload = server.upload("a", b"newer")
    watch(server.config.data, monkeypatch).fail("remove", io_error)
    with caplog.at_level(logging.WARNING, "server"):
        upload.publish()
    assert server.visible() == {"a": b"newer"}
    assert older.object_id.hex() in caplog.text


def test_two_clients_have_the_same_name_to_themselves(server: OnDisk) -> None:
    server.keep("a", b"Alice's")
    server.keep("a", b"Bob's", BOB)
    assert (server.visible(), server.visible(BOB)) == ({"a": b"Alice's"}, {"a": b"Bob's"})


def test_bytes_beyond_what_was_announced_are_refused(server: OnDisk) -> None:
    upload = server.receiver.begin(ALICE, "a", 10)
    upload.write(memoryview(bytes(10)))
    with pytest.raises(LimitReached, match="10 bytes announced"):
        upload.write(memoryview(b"x"))
    assert upload.size == 10
    upload.discard()


# The order that makes an acknowledgement a promise


def _steps(server: OnDisk, monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = watch(server.config.data, monkeypatch)
    watch_commits(steps, server.repository, monkeypatch)
    return steps


def test_bytes_are_synced_then_named_then_the_names_are_synced_then_committed(
    server: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = _steps(server, monkeypatch)
    upload = server.keep("a", b"content")
    staged, client = f"staging/{upload.object_id.hex()}", ALICE.hex()
    assert steps.taken == [
        f"write {staged}",
        f"sync {staged}",
        "sync .",
        f"rename {client}/{upload.object_id.hex()}",
        f"sync {client}",
        "commit",
    ]


def test_a_replaced_object_is_removed_after_the_commit(
    server: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = server.keep("a", b"older")
    steps = _steps(server, monkeypatch)
    server.keep("a", b"newer")
    assert steps.taken[-2:] == ["commit", f"remove {ALICE.hex()}/{older.object_id.hex()}"]


# When the database fails


@pytest.fixture
def unpublished(server: OnDisk, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Upload, Steps]]:
    """An upload whose first publication the database refused, and what makes it answer again."""
    server.keep("a", b"older")
    upload = server.upload("a", b"newer")
    steps = _steps(server, monkeypatch)
    steps.fail("commit", _unavailable)
    with pytest.raises(RepositoryUnavailable):
        upload.publish()
    yield upload, steps
    upload.discard()


def test_a_file_that_the_database_refused_is_not_visible(
    server: OnDisk, unpublished: tuple[Upload, Steps]
) -> None:
    assert unpublished
    assert server.visible() == {"a": b"older"}


def test_a_file_that_the_database_refused_is_published_at_the_next_try(
    server: OnDisk, unpublished: tuple[Upload, Steps]
) -> None:
    upload, steps = unpublished
    steps.mend()
    upload.publish()
    assert server.visible() == {"a": b"newer"}


def test_publication_may_fail_more_than_once(
    server: OnDisk, unpublished: tuple[Upload, Steps]
) -> None:
    upload, steps = unpublished
    with pytest.raises(RepositoryUnavailable):
        upload.publish()
    steps.mend()
    upload.publish()
    assert server.visible() == {"a": b"newer"}


def test_the_next_try_does_not_sync_the_bytes_again(unpublished: tuple[Upload, Steps]) -> None:
    upload, steps = unpublished
    steps.mend()
    steps.taken.clear()
    upload.publish()
    assert not [step for step in steps.taken if step.startswith(("write", "sync staging"))]


# When the disk fails


@pytest.mark.parametrize("step", ["sync staging", "sync .", "rename", f"sync {ALICE.hex()}"])
def test_a_file_that_the_disk_refused_is_discarded(
    server: OnDisk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    upload = server.upload("a", b"content")
    _steps(server, monkeypatch).fail(step, io_error)
    with pytest.raises(StorageError, match="Input/output error"):
        upload.publish()
    assert not server.staged()
    assert not server.visible()


@pytest.mark.parametrize("step", ["sync staging", "sync .", "rename", f"sync {ALICE.hex()}"])
def test_a_file_that_the_disk_refused_is_never_published(
    server: OnDisk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    upload = server.upload("a", b"content")
    steps = _steps(server, monkeypatch)
    steps.fail(step, io_error)
    with pytest.raises(StorageError):
        upload.publish()
    steps.mend()
    with pytest.raises(StorageError):
        upload.publish()
    assert "commit" not in steps.taken


def test_a_discarded_upload_is_never_published(server: OnDisk) -> None:
    upload = server.upload("a", b"content")
    upload.discard()
    with pytest.raises(StorageError, match="given up"):
        upload.publish()


def test_the_older_file_survives_a_disk_that_refuses_the_newer(
    server: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.keep("a", b"older")
    upload = server.upload("a", b"newer")
    _steps(server, monkeypatch).fail("sync", io_error)
    with pytest.raises(StorageError):
        upload.publish()
    assert server.visible() == {"a": b"older"}


def test_a_full_disk_is_told_while_writing(server: OnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = server.receiver.begin(ALICE, "a", 10)
    watch(server.config.data, monkeypatch).fail("write", disk_full)
    with pytest.raises(StorageError, match="No space left"):
        upload.write(memoryview(b"x"))
    upload.discard()
