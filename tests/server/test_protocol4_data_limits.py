"""Data connections that wait, idle, meet a limit or a drain: the control connection tells why."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from server.errors import StorageError
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.data import DataConnection
from tests.peer4.serving import Serving, reason, serving, until
from tests.peer4.wire import SEGMENT, RefusedError
from tests.server.data_connections import (
    attached,
    begun,
    end,
    ended_connections,
    segments,
    staged,
    stored_by,
)
from tests.server.hostile_segments import BIG


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", max_failed_attempts=1000) as running:
        yield running


# Time


def test_a_control_connection_is_not_idle_while_segments_flow(tmp_path: Path) -> None:
    with serving(tmp_path / "data", idle_seconds=1.0) as server, attached(server) as (peer, data):
        upload_id, salt = begun(peer)
        for message in segments(peer, upload_id, salt):
            data.transmit(message)
            time.sleep(0.6)
        assert end(peer, upload_id).size == len(BIG)


def test_a_data_connection_may_be_idle_as_long_as_its_control_connection_is_not(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "data", idle_seconds=0.6) as server, attached(server) as (peer, data):
        for _ in range(6):
            time.sleep(0.25)
            peer.names()
        stored_by(peer, data)


def test_both_end_when_nothing_happens_on_either(tmp_path: Path) -> None:
    with serving(tmp_path / "data", idle_seconds=1.0) as server, attached(server) as (peer, data):
        begun(peer)  # an upload that nobody goes on with is no reason to stay
        assert data.at_end()
        assert peer.at_end()
        ended_connections(server)


def test_a_drain_lets_an_upload_over_a_data_connection_finish(tmp_path: Path) -> None:
    with serving(tmp_path / "data", grace_seconds=20.0) as server:
        with attached(server) as (peer, data), attached(server, "idle") as (idle, idle_data):
            upload_id, salt = begun(peer)
            messages = segments(peer, upload_id, salt)
            data.transmit(messages[0])
            draining = threading.Thread(target=server.listener.drain)
            draining.start()
            assert idle.at_end(stopping=True)
            assert idle_data.at_end()
            data.transmit(b"".join(messages[1:]))
            assert end(peer, upload_id).size == len(BIG)
            assert peer.at_end(stopping=True)
            assert data.at_end()
            draining.join()
        assert server.stored() == {"f": BIG}


def test_a_drain_that_cannot_wait_keeps_what_has_come(tmp_path: Path) -> None:
    with serving(tmp_path / "data", grace_seconds=0.1) as server, attached(server) as (peer, data):
        upload_id, salt = begun(peer)
        data.transmit(b"".join(segments(peer, upload_id, salt)[:2]))
        until(lambda: staged(server) == 2 * SEGMENT, "two segments are staged")
        server.listener.drain()
        assert data.at_end()
    with serving(tmp_path / "data") as server:
        peer.port = server.port
        with peer.again() as again, again.attach() as data:
            assert again.upload("f", BIG, upload_id=upload_id, data=data).size == len(BIG)
            assert again.get("f", data=data)[1] == BIG


# Limits


def sent_in_vain(peer: Peer4, data: DataConnection, size: int | None = len(BIG)) -> bytes:
    """Sends `BIG` over a data connection that the server closes because of it; the upload's id."""
    upload_id, salt = begun(peer, size=size)
    with suppress(OSError):  # it is closed while we send
        data.send_content(upload_id, salt, BIG)
    assert data.at_end()
    return upload_id


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_bytes_per_client": 5 * SEGMENT // 2}, wire.QUOTA),
        ({"max_file_bytes": 5 * SEGMENT // 2}, wire.TOO_LARGE),
    ],
)
def test_a_limit_that_is_reached_on_the_way_is_told_by_the_end(
    tmp_path: Path, limits: dict[str, int], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.quota._STEP_BYTES", SEGMENT)
    with serving(tmp_path / "data", **limits) as server:
        with attached(server) as (peer, data):
            peer.put("kept", b"kept")
            upload_id = sent_in_vain(peer, data, None)
            assert reason(lambda: end(peer, upload_id)) == expected
            peer.abandon(upload_id)
            with peer.attach() as another:  # the control connection goes on
                peer.upload("small", BIG[:SEGMENT], data=another)
            assert server.stored() == {"kept": b"kept", "small": BIG[:SEGMENT]}
        until(server.is_tidy, "nothing else is kept")


def test_a_full_disk_is_told_by_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.quota._STEP_BYTES", SEGMENT)
    monkeypatch.setattr("server.quota._FREE_SPACE_SECONDS", 0.0)
    with serving(tmp_path / "data") as server, attached(server) as (peer, data):
        upload_id, salt = begun(peer, size=None)
        with monkeypatch.context() as patch:
            patch.setattr("server.storage.DirectoryStorage.free_bytes", lambda _self: -1)
            with suppress(OSError):
                data.send_content(upload_id, salt, BIG)
            assert data.at_end()
            with pytest.raises(RefusedError) as caught:
                end(peer, upload_id)
        assert caught.value.reason == wire.SERVER_FULL
        assert caught.value.retry_after > 0
        with peer.attach() as another:
            assert peer.upload("f", BIG, upload_id=upload_id, data=another).size == len(BIG)
        assert server.stored() == {"f": BIG}


def test_more_content_than_announced_is_told_by_the_end(server: Serving) -> None:
    with attached(server) as (peer, data):
        upload_id = sent_in_vain(peer, data, SEGMENT)
        assert reason(lambda: end(peer, upload_id)) == wire.DIGEST_MISMATCH
        assert peer.names() == []
        assert server.is_tidy()


def test_a_disk_that_fails_is_told_by_the_end(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_arguments: object) -> None:
        raise StorageError("switched off by the test")

    with attached(server) as (peer, data):
        peer.put("f", b"older")
        with monkeypatch.context() as patch:
            patch.setattr("server.storage.directory.StagedFile.write", failing)
            upload_id = sent_in_vain(peer, data)
            assert reason(lambda: end(peer, upload_id)) == wire.SERVER_FAILED
        assert peer.get("f")[1] == b"older"
        with peer.attach() as another:
            assert peer.upload("f", BIG, upload_id=upload_id, data=another).size == len(BIG)
            assert peer.get("f", data=another)[1] == BIG
    until(server.is_tidy, "nothing else is kept")


@pytest.mark.parametrize("lie", ["size", "digest"])
def test_a_lie_about_the_whole_discards_the_upload(server: Serving, lie: str) -> None:
    with attached(server) as (peer, data):
        peer.put("f", b"older")
        upload_id, salt = begun(peer)
        data.send_content(upload_id, salt, BIG)
        told = wire.digest(BIG if lie == "size" else b"other")
        size = len(BIG) + (lie == "size")
        assert reason(lambda: peer.end(upload_id, size, told)) == wire.DIGEST_MISMATCH
        assert peer.get("f", data=data)[1] == b"older"
        assert server.is_tidy()


def test_an_upload_that_is_given_up_while_it_flows_leaves_nothing(server: Serving) -> None:
    with attached(server) as (peer, data):
        upload_id, salt = begun(peer)
        messages = segments(peer, upload_id, salt)
        data.transmit(messages[0])
        peer.abandon(upload_id)
        data.transmit(b"".join(messages[1:]))  # on its way already
        assert reason(lambda: end(peer, upload_id)) == wire.UNKNOWN_UPLOAD
        assert peer.names() == []
    until(server.is_tidy, "nothing is kept")
