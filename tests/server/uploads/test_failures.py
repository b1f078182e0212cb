"""What disk and database refuse is never acknowledged."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.repository import RepositoryUnavailable
from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut
from tests.peer4.serving import Serving, reason, serving, until
from tests.peer4.wire import SEGMENT
from tests.server.hostile_segments import BIG
from tests.server.uploads.sending import introduced, sealed_put, started


@contextmanager
def disk_failing(call: str, number: int = errno.EIO) -> Iterator[None]:
    """Lets a system call of the storage fail while the context lasts."""

    def failing(*_arguments: object, **_named: object) -> None:
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, failing)
        yield


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("files", [1, 20])
def test_what_the_disk_refuses_is_never_acknowledged(
    server: Serving, peer: Peer4, call: str, files: int
) -> None:
    peer.put("0", b"older")
    peer.upload("big", b"older")
    ids = [os.urandom(16) for _ in range(files)]
    with disk_failing(call), pytest.MonkeyPatch.context() as patch:
        if call == "fsync":

            def failing(_path: object) -> bool:
                raise OSError(errno.EIO, "syncfs")

            patch.setattr("server.storage.directory.sync_file_system", failing)
        if call == "rename":
            patch.setattr(Path, "rename", lambda *_: os.rename("", ""))  # noqa: PTH104
        if call != "rename":  # small files are written where they stay
            for number in range(files):
                peer.send_put(str(number), b"x" * (number + 1), upload_id=ids[number])
            for _ in range(files):
                assert peer.refusal() == wire.SERVER_FAILED
        upload_id = os.urandom(16)
        assert reason(lambda: peer.upload("big", BIG, upload_id=upload_id)) == wire.SERVER_FAILED
    assert peer.get("0")[1] == b"older"
    assert peer.get("big")[1] == b"older"
    assert len(server.files()) == 2
    assert server.is_tidy()
    for number in range(files):
        peer.put(str(number), b"x" * (number + 1), upload_id=ids[number])
    peer.upload("big", BIG, upload_id=upload_id)
    assert peer.get("big")[1] == BIG
    assert len(server.files()) == files + 1
    assert server.is_tidy()


def test_a_disk_that_fails_half_way_through_a_batch_keeps_what_was_whole_and_nothing_else(
    server: Serving, peer: Peer4
) -> None:
    real, calls = os.write, 0

    def failing(descriptor: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(errno.EIO, "no more")
        return real(descriptor, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", failing)
        batch = b"".join(sealed_put(peer, f"f{number}") for number in range(5))
        peer.transmit(batch)
        answers = [peer.receive().code for _ in range(5)]
    assert answers == [wire.STORED] * 2 + [wire.REFUSED] * 3
    assert server.is_tidy()
    assert peer.names() == ["f0", "f1"]


def test_a_directory_that_cannot_be_synced_leaves_nothing_of_a_batch(
    server: Serving, peer: Peer4
) -> None:
    def failing(_path: Path) -> None:
        raise OSError(errno.EIO, "no more")

    peer.put("older", b"x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.storage.directory.sync_directory", failing)
        peer.transmit(b"".join(sealed_put(peer, f"f{number}") for number in range(5)))
        assert [peer.refusal() for _ in range(5)] == [wire.SERVER_FAILED] * 5
    assert server.is_tidy()
    assert peer.names() == ["older"]


@pytest.mark.parametrize("files", [1, 20])
def test_what_the_database_refuses_is_never_acknowledged(everywhere: Serving, files: int) -> None:
    with introduced(everywhere) as peer:
        peer.put("0", b"older")
        ids = [os.urandom(16) for _ in range(files + 1)]
        with pytest.MonkeyPatch.context() as patch:

            def failing(*_: object) -> None:
                raise RepositoryUnavailable("switched off by the test")

            patch.setattr(type(everywhere.repository), "publish", failing)
            for number in range(files):
                peer.send_put(str(number), b"x" * (number + 1), upload_id=ids[number])
            for _ in range(files):
                assert peer.refusal() == wire.SERVER_FAILED
            assert reason(lambda: peer.upload("big", BIG, upload_id=ids[-1])) == wire.SERVER_FAILED
        assert peer.names() == ["0"]
        assert peer.get("0")[1] == b"older"
        for number in range(files):
            peer.put(str(number), b"x" * (number + 1), upload_id=ids[number])
        # nothing but the final segment is to be sent again: the object was in place
        assert peer.begin(ids[-1], os.urandom(32), "big", len(BIG)) == 3 * SEGMENT
        assert peer.upload("big", BIG, upload_id=ids[-1]).sha256 == wire.digest(BIG)
        assert peer.get("big")[1] == BIG
        assert len(everywhere.files()) == files + 1
    assert everywhere.staged() == []


@pytest.mark.parametrize("carried_out", [False, True])
def test_what_the_database_refused_counts_once_it_is_settled_as_what_it_is(
    tmp_path: Path, carried_out: bool
) -> None:
    limit = 2 * len(BIG) + 100
    with (
        serving(tmp_path / "data", max_bytes_per_client=limit) as server,
        introduced(server) as peer,
    ):
        publish = type(server.repository).publish
        with pytest.MonkeyPatch.context() as patch:

            def failing(*given: Any) -> None:  # noqa: ANN401 - as the method replaced
                if carried_out:
                    publish(*given)
                raise RepositoryUnavailable("switched off by the test")

            patch.setattr(type(server.repository), "publish", failing)
            for name in ("a", "b"):
                peer.send_put(name, b"x" * 40)
                assert peer.refusal() == wire.SERVER_FAILED
            assert reason(lambda: peer.upload("big", BIG)) == wire.SERVER_FAILED
        begin = (os.urandom(16), os.urandom(32), "c", len(BIG) + 21)
        assert reason(lambda: peer.begin(*begin)) == wire.QUOTA
        services = server.listener.doors.services4
        assert services.receiver.sweep() == (0 if carried_out else 2)
        services.uploads.expire(1000)
        assert peer.names() == (["a", "b", "big"] if carried_out else [])
        # Of the large one either the file or what is staged of it counts, and not both.
        peer.upload("c", BIG)
        left = 20 if carried_out else 100
        assert reason(lambda: peer.put("d", b"x" * (left + 1))) == wire.QUOTA
        peer.put("d", b"x" * left)


def test_an_upload_that_the_database_refused_can_be_abandoned(server: Serving, peer: Peer4) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def failing(*_: object) -> None:
            raise RepositoryUnavailable("switched off by the test")

        patch.setattr(type(server.repository), "publish", failing)
        upload_id = os.urandom(16)
        assert reason(lambda: peer.upload("f", BIG, upload_id=upload_id)) == wire.SERVER_FAILED
    peer.abandon(upload_id)
    assert server.is_tidy()


def test_what_nobody_expects_ends_the_connection_and_keeps_nothing(
    server: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    with introduced(server) as owner:
        owner.put("f", b"older")
        for target in ("make_durable", "place"):
            with pytest.MonkeyPatch.context() as patch, owner.again() as peer:

                def failing(*_: object) -> None:
                    raise MemoryError

                patch.setattr(
                    type(server.listener.doors.services4.uploads.storage), target, failing
                )
                peer.send_put("f", b"x")
                with pytest.raises((StreamCut, OSError)):
                    peer.receive()
            until(server.is_tidy, f"nothing is kept after {target}")
        with pytest.MonkeyPatch.context() as patch, owner.again() as peer:
            patch.setattr("server.attempts.SegmentOpener.open", failing)
            upload_id = started(peer)
            with pytest.raises((StreamCut, OSError)):
                peer.receive()
        owner.abandon(upload_id)
        until(server.is_tidy, "nothing is kept")
        assert owner.get("f")[1] == b"older"
    assert "MemoryError" in caplog.text
