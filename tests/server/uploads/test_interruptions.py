"""Uploads that are cut off, go on, or are given up."""

import os
import random
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut
from tests.peer4.serving import ServerProcess4, Serving, reason, serving, until
from tests.peer4.wire import SEGMENT
from tests.server.hostile_segments import BIG
from tests.server.uploads.sending import introduced, started, wait_for_staged

# Interruptions


def test_an_upload_cut_at_any_byte_goes_on_and_is_stored_whole(everywhere: Serving) -> None:
    chance = random.Random(os.urandom(8))
    with introduced(everywhere) as peer:
        for turn in range(6):
            upload_id, name = os.urandom(16), f"f{turn}"
            cut, held = chance.randrange(len(BIG)), 0
            while cut < len(BIG):
                held = send_until(peer.again(), upload_id, name, cut, held)
                cut += chance.randrange(1, len(BIG))
            assert peer.upload(name, BIG, upload_id=upload_id).sha256 == wire.digest(BIG)
            assert peer.get(name)[1] == BIG
    until(everywhere.is_tidy, "nothing else is kept")


def send_until(peer: Peer4, upload_id: bytes, name: str, cut: int, held: int) -> int:
    """Sends up to byte `cut` of the content and cuts the connection; what the server had."""
    salt = os.urandom(32)
    offset = peer.begin(upload_id, salt, name, len(BIG))
    assert isinstance(offset, int)
    assert offset >= held
    key = peer.key_of(upload_id, salt)
    for index, final, plain in wire.pieces(BIG)[offset // SEGMENT :]:
        fixed = upload_id + struct.pack("<QB", index, final)
        sealed = wire.seal(key, upload_id, index, plain, final=final)
        message = wire.message(wire.SEGMENT_CODE, fixed + sealed)
        keep = min(max(cut - index * SEGMENT, 0), len(message))
        peer.transmit(message[:keep])
        if keep < len(message):
            break
    peer.close() if cut % 2 else peer.cut()
    return offset


def test_all_whole_segments_are_held_when_the_connection_ended_cleanly(server: Serving) -> None:
    with introduced(server) as peer:
        with peer.again() as first:
            upload_id = started(first, segments=2)
        wait_for_staged(server, 2 * SEGMENT)
        salt = os.urandom(32)
        assert peer.begin(upload_id, salt, "f", len(BIG)) == 2 * SEGMENT
        peer.send_content(upload_id, salt, BIG, 2 * SEGMENT)
        assert peer.end(upload_id, len(BIG), wire.digest(BIG)).size == len(BIG)


@pytest.mark.parametrize("content", [BIG[: 2 * SEGMENT], BIG[:100]])
def test_a_final_segment_is_never_counted_as_held(server: Serving, content: bytes) -> None:
    with introduced(server) as peer:
        with peer.again() as first:
            upload_id = started(first, content, segments=2)
        wait_for_staged(server, len(content))
        assert (
            peer.begin(upload_id, bytes(32), "f", len(content))
            == len(content) // 2 // SEGMENT * SEGMENT
        )


def test_with_another_size_an_upload_starts_anew(server: Serving) -> None:
    with introduced(server) as peer:
        for other in (len(BIG) + 1, len(BIG) - 1, 10, None):
            with peer.again() as first:
                upload_id = started(first, segments=2)
            wait_for_staged(server, 2 * SEGMENT)
            assert peer.begin(upload_id, os.urandom(32), "f", other) == 0
            assert peer.begin(upload_id, os.urandom(32), "f", other) == 0
            peer.abandon(upload_id)
    until(server.is_tidy, "nothing else is kept")


def test_the_latest_fields_of_a_repeated_begin_count(server: Serving) -> None:
    with introduced(server) as peer:
        upload_id = started(peer, segments=1, name="old")
        receipt = peer.upload("new", BIG, upload_id=upload_id, modified=5)
        assert receipt.file_name == "new"
        assert peer.names() == ["new"]
        assert peer.stat("new").modified == 5


def test_an_upload_survives_the_death_of_the_server(tmp_path: Path) -> None:
    upload_id, peer = os.urandom(16), None
    with ServerProcess4(tmp_path / "data") as process:
        peer = Peer4(process.port).open().introduce()
        kept = peer.put("kept", b"kept")
        salt = os.urandom(32)
        assert peer.begin(upload_id, salt, "f", len(BIG)) == 0
        key = peer.key_of(upload_id, salt)
        for index, _, plain in wire.pieces(BIG)[:2]:
            sealed = wire.seal(key, upload_id, index, plain, final=False)
            peer.segment(upload_id, index, sealed, final=False)
        staging = tmp_path / "data" / "staging"
        until(lambda: sum(f.stat().st_size for f in staging.iterdir()) == 2 * SEGMENT, "staged")
        process.kill()
        peer.cut()
    with ServerProcess4(tmp_path / "data") as process:
        peer.port = process.port
        with peer.again() as later:
            assert later.receipt_key == kept.receipt_key
            assert later.names() == ["kept"]
            salt = os.urandom(32)
            assert later.begin(upload_id, salt, "f", len(BIG)) == 2 * SEGMENT
            later.send_content(upload_id, salt, BIG, 2 * SEGMENT)
            receipt = later.end(upload_id, len(BIG), wire.digest(BIG))
        process.kill()
    with ServerProcess4(tmp_path / "data") as process:
        peer.port = process.port
        with peer.again() as last:
            assert last.upload("f", BIG, upload_id=upload_id) == receipt
            assert last.get("f")[1] == BIG
        assert not list(staging.iterdir())


def test_acknowledged_files_survive_kills_at_any_moment(tmp_path: Path) -> None:
    chance, stored, peer = random.Random(os.urandom(8)), dict[str, bytes](), None
    for turn in range(4):
        with ServerProcess4(tmp_path / "data") as process:
            if peer is None:
                peer = Peer4(process.port).open().introduce()
                peer.close()
            peer.port = process.port
            killer = threading.Timer(chance.uniform(0.02, 0.3), process.process.kill)
            with peer.again() as sender:
                assert {n: sender.get(n)[1] for n in sender.names()}.items() >= stored.items()
                killer.start()
                with pytest.raises((StreamCut, OSError)):  # noqa: PT012
                    for number in range(10_000):
                        name, size = f"{turn}/{number}", chance.choice((10, 70_000, SEGMENT + 9))
                        sender.upload(name, BIG[:size])
                        stored[name] = BIG[:size]
            killer.join()
    assert peer is not None
    with ServerProcess4(tmp_path / "data") as process:
        peer.port = process.port
        with peer.again() as sender:
            assert {n: sender.get(n)[1] for n in stored} == stored


# Truncation


def cuts() -> list[int]:
    """After every segment and in the middle of each, as the number of bytes that follow *begin*."""
    boundary = SEGMENT + 16 + 25 + wire.HEADER_BYTES
    return [boundary * index // 2 for index in range(7)]


@pytest.mark.parametrize("farewell", [False, True])
def test_a_truncated_upload_is_never_visible(server: Serving, farewell: bool) -> None:
    with introduced(server) as owner:
        owner.put("f", b"older")
        for at in cuts():
            peer = owner.again()
            upload_id, salt = os.urandom(16), os.urandom(32)
            peer.begin(upload_id, salt, "f", len(BIG))
            key = peer.key_of(upload_id, salt)
            stream = b"".join(
                wire.message(
                    wire.SEGMENT_CODE,
                    upload_id + struct.pack("<QB", index, final)
                    + wire.seal(key, upload_id, index, plain, final=final),
                )
                for index, final, plain in wire.pieces(BIG)
            )  # fmt: skip
            peer.transmit(stream[:at])
            peer.close() if farewell else peer.cut()
            owner.abandon(upload_id)
            assert owner.get("f")[1] == b"older"
        until(server.is_tidy, "nothing is kept")


def test_nothing_is_visible_before_the_end_and_the_older_file_stays(
    server: Serving, peer: Peer4
) -> None:
    with peer.again() as looking:
        upload_id, salt = os.urandom(16), os.urandom(32)
        peer.begin(upload_id, salt, "new", len(BIG))
        peer.send_content(upload_id, salt, BIG)
        wait_for_staged(server, len(BIG))
        assert looking.names() == []
        assert reason(lambda: looking.stat("new")) == wire.NOT_FOUND
        assert reason(lambda: looking.get("new")) == wire.NOT_FOUND
        peer.end(upload_id, len(BIG), wire.digest(BIG))
        assert looking.names() == ["new"]
        started(peer, segments=4, name="new")
        assert looking.get("new")[1] == BIG


# Giving up


def test_abandon_removes_what_is_staged_whoever_asks(server: Serving) -> None:
    with introduced(server) as first, first.again() as second:
        upload_id = started(first, segments=2)
        first.names()
        second.abandon(upload_id)
        assert server.is_tidy()
        sealed = bytes(SEGMENT + 16)
        first.segment(upload_id, 2, sealed, final=False)
        assert first.refusal() == wire.UNKNOWN_UPLOAD
        assert reason(lambda: first.end(upload_id, 1, bytes(32))) == wire.UNKNOWN_UPLOAD
        first.abandon(upload_id)  # also when there is none
        assert first.begin(upload_id, os.urandom(32), "f", len(BIG)) == 0
        first.abandon(upload_id)
        assert server.is_tidy()
        assert list(server.repository.pending_uploads()) == []


def test_abandon_does_not_touch_a_complete_upload_or_anothers(server: Serving) -> None:
    with introduced(server) as alice, introduced(server, "bob") as bob:
        done, pending = os.urandom(16), started(alice, segments=2)
        alice.upload("done", BIG, upload_id=done)
        alice.abandon(done)
        bob.abandon(pending)
        assert alice.get("done")[1] == BIG
        assert alice.begin(pending, os.urandom(32), "f", len(BIG)) == 2 * SEGMENT


def test_a_put_under_the_id_of_a_pending_upload_ends_that(server: Serving, peer: Peer4) -> None:
    upload_id = started(peer, segments=1)
    peer.put("f", b"small", upload_id=upload_id)
    assert peer.get("f")[1] == b"small"
    until(server.is_tidy, "nothing of the other attempt is kept")


def test_an_upload_begun_while_a_put_under_its_id_waits_leaves_nothing_behind(
    server: Serving, peer: Peer4, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_files = server.listener.doors.services4.small_files
    publish, upload_id = small_files.publish, os.urandom(16)

    def begun_before(batch: Any, event: Any) -> Any:  # noqa: ANN401 - as the real one
        with peer.again() as other:
            salt = os.urandom(32)
            assert other.begin(upload_id, salt, "g", len(BIG)) == 0
            other.send_content(upload_id, salt, BIG[:SEGMENT] + b"more")
            other.names()
        return publish(batch, event)

    monkeypatch.setattr(small_files, "publish", begun_before)
    peer.put("f", b"small", upload_id=upload_id)
    assert server.stored() == {"f": b"small"}
    until(server.is_tidy, "nothing of the other attempt is kept")


def test_old_interrupted_uploads_expire_and_young_ones_stay(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server, introduced(server) as peer:
        upload_id = started(peer, segments=2)
        peer.names()
    for days, offset in ((1.0, 2 * SEGMENT), (0.0, 0)):
        time.sleep(1.1 if not days else 0)  # times are whole seconds
        with serving(tmp_path / "data", upload_days=days) as server:
            assert bool(server.staged()) is bool(offset)
            peer.port = server.port
            with peer.again() as again:
                assert again.begin(upload_id, os.urandom(32), "f", len(BIG)) == offset


def test_interrupted_uploads_expire_while_the_server_runs_but_those_under_way(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "data") as server, introduced(server) as peer:
        with peer.again() as again:
            abandoned = started(again, segments=2)
        uploads = server.listener.doors.services4.uploads
        with peer.again() as again:
            salt, running = os.urandom(32), os.urandom(16)
            again.begin(running, salt, "running", len(BIG))
            time.sleep(1.1)  # times are whole seconds
            until(lambda: uploads.expire(0) == 1, "the upload that was cut off expires")
            assert len(server.staged()) == 1
            again.send_content(running, salt, BIG)
            again.end(running, len(BIG), wire.digest(BIG))
        assert peer.begin(abandoned, os.urandom(32), "f", len(BIG)) == 0


def test_a_drain_lets_a_running_upload_finish(tmp_path: Path) -> None:
    with serving(tmp_path / "data", grace_seconds=20.0) as server:
        with introduced(server) as peer, peer.again() as idle:
            upload_id, salt = os.urandom(16), os.urandom(32)
            peer.begin(upload_id, salt, "f", len(BIG))
            draining = threading.Thread(target=server.listener.drain)
            draining.start()
            assert idle.at_end(stopping=True)
            peer.send_content(upload_id, salt, BIG)
            assert peer.end(upload_id, len(BIG), wire.digest(BIG)).size == len(BIG)
            assert peer.at_end(stopping=True)
            draining.join()
        assert server.stored() == {"f": BIG}
