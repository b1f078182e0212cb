"""Limits on files, bytes and disk space, which count what is under way as well."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from server.errors import LimitReached, StorageError
from server.repository import RepositoryUnavailable, Usage
from tests.server.on_disk import ALICE, OnDisk, io_error, watch, watch_commits

BOB = b"\xbb" * 16
MakeServer = Callable[..., OnDisk]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakeServer]:
    """Makes a server with given settings that knows Alice and Bob."""
    with ExitStack() as stack:

        def make(**settings: Any) -> OnDisk:  # noqa: ANN401 - any setting of Config
            server = stack.enter_context(OnDisk(tmp_path / "data", **settings))
            server.register()
            server.register(BOB, "Bob")
            return server

        yield make


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the free disk space that the system tells of."""

    def free(size: int) -> None:
        values = (1, 1, 0, 0, size, 0, 0, 0, 0, 255)
        monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(values))

    return free


def _is_refused(server: OnDisk, name: str, size: int, client_id: bytes = ALICE) -> bool:
    """Whether an upload may not begin; one that may is discarded."""
    try:
        server.receiver.begin(client_id, name, size).discard()
    except LimitReached:
        return True
    return False


def test_a_refused_upload_leaves_nothing_staged(make: MakeServer) -> None:
    server = make(max_file_bytes=1)
    assert _is_refused(server, "a", 2)
    assert not server.staged()


def test_an_upload_that_fails_to_begin_does_not_count(
    make: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make(max_files_per_client=1)
    with monkeypatch.context() as patch:
        patch.setattr(server.storage, "free_bytes", _failing)
        with pytest.raises(StorageError):
            server.receiver.begin(ALICE, "a", 1)
    assert not server.staged()
    assert not _is_refused(server, "a", 1)


def _failing() -> int:
    raise StorageError("cannot read the free disk space")


# The size of a file


def test_a_file_may_have_the_largest_size(make: MakeServer) -> None:
    assert not _is_refused(make(max_file_bytes=100), "a", 100)


def test_a_file_may_not_have_more(make: MakeServer) -> None:
    server = make(max_file_bytes=100)
    with pytest.raises(LimitReached, match="a file may have 100 bytes"):
        server.receiver.begin(ALICE, "a", 101)


# The number of files


@pytest.fixture
def two_files(make: MakeServer) -> OnDisk:
    """Alice may keep two files and has one."""
    server = make(max_files_per_client=2)
    server.keep("a", b"1")
    return server


def test_a_client_may_reach_its_number_of_files(two_files: OnDisk) -> None:
    assert not _is_refused(two_files, "b", 1)


def test_a_client_may_not_have_more_files(two_files: OnDisk) -> None:
    two_files.keep("b", b"2")
    with pytest.raises(LimitReached, match="a client may keep 2 files"):
        two_files.receiver.begin(ALICE, "c", 1)


def test_a_client_with_all_its_files_may_replace_one(two_files: OnDisk) -> None:
    two_files.keep("b", b"2")
    two_files.keep("b", b"3")
    assert two_files.visible() == {"a": b"1", "b": b"3"}


def test_refusing_many_files_does_not_add_up_what_is_stored_for_each(
    two_files: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A message may bring 256 of them, and the database serves all others meanwhile.
    two_files.keep("a", b"")
    two_files.keep("b", b"")
    asked: list[bytes] = []
    usage = two_files.repository.usage

    def counted(client_id: bytes) -> Usage:
        asked.append(client_id)
        return usage(client_id)

    monkeypatch.setattr(two_files.repository, "usage", counted)
    assert all(_is_refused(two_files, f"more{number}", 0) for number in range(10))
    assert asked == [ALICE]
    two_files.receiver.quota.changed(ALICE)
    assert _is_refused(two_files, "more", 0)
    assert asked == [ALICE, ALICE]


def test_a_file_under_way_counts(two_files: OnDisk) -> None:
    upload = two_files.upload("b", b"2")
    assert _is_refused(two_files, "c", 1)
    upload.discard()


def test_a_file_that_was_discarded_counts_no_longer(two_files: OnDisk) -> None:
    two_files.upload("b", b"2").discard()
    assert not _is_refused(two_files, "c", 1)


def test_a_published_file_counts_once(two_files: OnDisk) -> None:
    two_files.keep("a", b"newer")
    assert not _is_refused(two_files, "b", 1)


def test_another_clients_files_do_not_count(two_files: OnDisk) -> None:
    for name in ("b", "c"):
        two_files.keep(name, b"Bob's", BOB)
    assert not _is_refused(two_files, "b", 1)


def test_a_file_that_the_database_refused_counts_until_its_bytes_are_removed(
    two_files: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = two_files.upload("b", b"2")
    steps = watch(two_files.config.data, monkeypatch)
    watch_commits(steps, two_files.repository, monkeypatch)
    steps.fail("commit", lambda: RepositoryUnavailable("away"))
    with pytest.raises(RepositoryUnavailable):
        upload.publish()
    assert _is_refused(two_files, "c", 1)
    upload.discard()
    assert _is_refused(two_files, "c", 1)
    assert two_files.receiver.sweep() == 1
    assert not _is_refused(two_files, "c", 1)
    assert upload.object_id.hex() not in two_files.objects()
    assert two_files.receiver.sweep() == 0


def test_a_file_whose_commit_was_carried_out_and_reported_lost_counts_once_in_the_end(
    two_files: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = two_files.repository.publish_file

    def lost(*given: Any) -> None:  # noqa: ANN401 - as the method replaced
        publish(*given)
        raise RepositoryUnavailable("away")

    upload = two_files.upload("b", b"22")
    with monkeypatch.context() as patch:
        patch.setattr(two_files.repository, "publish_file", lost)
        with pytest.raises(RepositoryUnavailable):
            upload.publish()
    upload.discard()
    assert two_files.receiver.sweep() == 0
    assert two_files.visible()["b"] == b"22"
    assert _is_refused(two_files, "c", 1)
    assert two_files.repository.remove_file(ALICE, "b") is not None
    two_files.receiver.quota.changed(ALICE)
    assert not _is_refused(two_files, "c", 1)


def test_an_object_in_doubt_counts_while_database_or_disk_fail(
    two_files: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(two_files.config.data, monkeypatch)
    upload = two_files.upload("b", b"2")
    with monkeypatch.context() as patch:

        def away(*_: object) -> None:
            raise RepositoryUnavailable("away")

        patch.setattr(two_files.repository, "publish_file", away)
        patch.setattr(two_files.repository, "known_objects", away)
        with pytest.raises(RepositoryUnavailable):
            upload.publish()
        upload.discard()
        with pytest.raises(RepositoryUnavailable):
            two_files.receiver.sweep()
    assert _is_refused(two_files, "c", 1)
    steps.fail("remove", io_error)
    assert two_files.receiver.sweep() == 0
    assert _is_refused(two_files, "c", 1)
    steps.mend()
    assert two_files.receiver.sweep() == 1
    assert not _is_refused(two_files, "c", 1)


def test_a_file_that_the_disk_refused_counts_no_longer(
    two_files: OnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = two_files.upload("b", b"2")
    steps = watch(two_files.config.data, monkeypatch)
    steps.fail("sync", io_error)
    with pytest.raises(StorageError):
        upload.publish()
    assert not _is_refused(two_files, "c", 1)


# The bytes of a client


@pytest.fixture
def hundred_bytes(make: MakeServer) -> OnDisk:
    """Alice may keep 100 bytes and has 60."""
    server = make(max_bytes_per_client=100)
    server.keep("a", bytes(60))
    return server


def test_a_client_may_reach_its_number_of_bytes(hundred_bytes: OnDisk) -> None:
    assert not _is_refused(hundred_bytes, "b", 40)


def test_a_client_may_not_have_more_bytes(hundred_bytes: OnDisk) -> None:
    with pytest.raises(LimitReached, match="a client may keep 100 bytes"):
        hundred_bytes.receiver.begin(ALICE, "b", 41)


def test_bytes_under_way_count_as_announced(hundred_bytes: OnDisk) -> None:
    upload = hundred_bytes.receiver.begin(ALICE, "b", 30)
    assert _is_refused(hundred_bytes, "c", 11)
    assert not _is_refused(hundred_bytes, "c", 10)
    upload.discard()


def test_bytes_that_were_discarded_count_no_longer(hundred_bytes: OnDisk) -> None:
    hundred_bytes.receiver.begin(ALICE, "b", 40).discard()
    assert not _is_refused(hundred_bytes, "c", 40)


def test_a_file_counts_twice_while_it_is_replaced(hundred_bytes: OnDisk) -> None:
    assert _is_refused(hundred_bytes, "a", 60)
    assert not _is_refused(hundred_bytes, "a", 40)


def test_a_replaced_file_counts_no_longer(hundred_bytes: OnDisk) -> None:
    hundred_bytes.keep("a", bytes(10))
    assert not _is_refused(hundred_bytes, "b", 90)


# The disk


def test_the_disk_may_be_filled_up_to_what_is_kept_free(
    make: MakeServer, free: Callable[[int], None]
) -> None:
    server = make(min_free_bytes=1000)
    free(1100)
    assert not _is_refused(server, "a", 100)


def test_the_disk_may_not_be_filled_further(make: MakeServer, free: Callable[[int], None]) -> None:
    server = make(min_free_bytes=1000)
    free(1100)
    with pytest.raises(LimitReached, match="the disk is full up to what is kept free"):
        server.receiver.begin(ALICE, "a", 101)


def test_what_other_clients_have_still_to_write_is_not_free(
    make: MakeServer, free: Callable[[int], None]
) -> None:
    server = make(min_free_bytes=1000)
    free(1100)
    upload = server.receiver.begin(BOB, "b", 60)
    assert _is_refused(server, "a", 41)
    assert not _is_refused(server, "a", 40)
    upload.discard()


def test_what_others_have_written_is_not_subtracted_twice(
    make: MakeServer, free: Callable[[int], None]
) -> None:
    server = make(min_free_bytes=1000)
    free(1100)
    upload = server.receiver.begin(BOB, "b", 60)
    upload.write(memoryview(bytes(60)))
    free(1040)
    assert not _is_refused(server, "a", 40)
    upload.discard()
