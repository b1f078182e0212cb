"""What a client says that is not so, and limits that it does not keep."""

import os
from pathlib import Path

import pytest

from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut
from tests.peer4.serving import Serving, reason, serving, until
from tests.peer4.wire import SEGMENT, RefusedError
from tests.server.hostile_segments import BIG, bad_segments
from tests.server.uploads.sending import introduced, started, wait_for_staged

# Lies


@pytest.mark.parametrize("lie", ["size", "digest"])
def test_a_lie_about_the_whole_discards_the_upload(server: Serving, peer: Peer4, lie: str) -> None:
    peer.put("f", b"older")
    upload_id, salt = os.urandom(16), os.urandom(32)
    peer.begin(upload_id, salt, "f", len(BIG))
    peer.send_content(upload_id, salt, BIG)
    size = len(BIG) + (lie == "size")
    told = wire.digest(BIG if lie == "size" else b"other")
    assert reason(lambda: peer.end(upload_id, size, told)) == wire.DIGEST_MISMATCH
    assert peer.get("f")[1] == b"older"
    assert server.is_tidy()
    assert reason(lambda: peer.put("f", b"x", sha256=bytes(32))) == wire.DIGEST_MISMATCH
    assert peer.get("f")[1] == b"older"
    assert server.is_tidy()


def test_more_content_than_announced_is_refused_at_once(server: Serving, peer: Peer4) -> None:
    upload_id, salt = os.urandom(16), os.urandom(32)
    peer.begin(upload_id, salt, "f", SEGMENT)
    peer.send_content(upload_id, salt, BIG)
    assert peer.refusal() == wire.DIGEST_MISMATCH
    assert reason(lambda: peer.end(upload_id, len(BIG), wire.digest(BIG))) == wire.DIGEST_MISMATCH
    assert peer.names() == []
    assert server.is_tidy()


def test_an_end_before_the_final_segment_is_refused_and_the_upload_can_go_on(peer: Peer4) -> None:
    upload_id = started(peer, segments=2)
    held = BIG[: 2 * SEGMENT]
    assert reason(lambda: peer.end(upload_id, len(held), wire.digest(held))) == wire.UNKNOWN_UPLOAD
    assert peer.names() == []
    assert peer.begin(upload_id, os.urandom(32), "f", len(BIG)) == 2 * SEGMENT


@pytest.mark.parametrize("what", bad_segments())
def test_a_segment_that_is_not_the_one_due_ends_the_connection(server: Serving, what: str) -> None:
    with introduced(server) as owner:
        owner.put("f", b"older")
        peer = owner.again()
        upload_id, salt = os.urandom(16), os.urandom(32)
        assert (
            peer.begin(upload_id, salt, "f", None if what == "after_the_final" else len(BIG)) == 0
        )
        bad_segments()[what](peer, peer, upload_id, salt)
        assert peer.refusal() == wire.BAD_SEGMENT
        assert peer.at_end()
        peer.close()
        assert owner.get("f")[1] == b"older"
        # what was verified before is worth keeping, and the same upload can succeed
        receipt = owner.upload("f", BIG, upload_id=upload_id)
        assert receipt.sha256 == wire.digest(BIG)
        assert owner.get("f")[1] == BIG
    until(server.is_tidy, "nothing else is kept")


def test_a_put_that_does_not_verify_ends_the_connection(server: Serving) -> None:
    with introduced(server) as owner:
        for number in range(3):
            with owner.again() as peer:
                good = peer.send_put(f"good {number}", b"good")
                peer.send_put("bad", b"bad", spoil=lambda sealed: sealed[:-1] + b"?")
                assert peer.stored(good).size == 4
                assert peer.refusal() == wire.BAD_SEGMENT
                assert peer.at_end()
        assert owner.names() == ["good 0", "good 1", "good 2"]
    until(server.is_tidy, "nothing else is kept")


def test_a_whole_recorded_connection_replayed_does_nothing(server: Serving) -> None:
    with introduced(server) as first:
        first.upload("f", BIG)
        first.remove("f")
        recorded = bytes(first.sent)
        # without the registration, whose name is taken
        start = wire.HEADER_BYTES + wire.header(recorded[: wire.HEADER_BYTES])[3]
        for replay in (recorded, recorded[start:]):
            with first.twin() as second:
                try:
                    second.transmit(replay)
                    while second.receive().code != wire.CONNECTED:
                        pass
                    pytest.fail("the replay was let in")
                except (StreamCut, OSError):
                    pass
        with first.twin() as again:
            assert again.connect().names() == []
    until(server.is_tidy, "nothing is kept")


# Limits


def test_the_limits_of_a_client_and_of_a_file_hold(tmp_path: Path) -> None:
    limits = {"max_files_per_client": 3, "max_bytes_per_client": 3_000_000, "max_file_bytes": 2**21}
    with serving(tmp_path / "data", **limits) as server:
        with introduced(server) as peer:
            assert reason(lambda: peer.upload("f", BIG)) == wire.TOO_LARGE
            peer.begin(os.urandom(16), salt := os.urandom(32), "f", 2**21)
            uploads = [os.urandom(16) for _ in range(2)]
            assert reason(lambda: peer.begin(uploads[0], salt, "g", 1_000_000)) == wire.QUOTA
            assert peer.begin(uploads[0], salt, "g", 100_000) == 0
            assert peer.begin(uploads[1], salt, "h", 100_000) == 0
            assert reason(lambda: peer.begin(os.urandom(16), salt, "i", 1)) == wire.QUOTA
            assert reason(lambda: peer.put("i", b"")) == wire.QUOTA
        with introduced(server, "bob") as bob:
            bob.put("f", b"bob's")
            bob.upload("g", BIG[: 2**21])


def test_content_of_unknown_size_meets_the_limits_as_it_comes(tmp_path: Path) -> None:
    with serving(tmp_path / "data", max_file_bytes=2 * SEGMENT) as server:  # noqa: SIM117
        with introduced(server) as peer:
            assert reason(lambda: peer.upload("f", BIG, announced=None)) == wire.TOO_LARGE


def test_what_interrupted_uploads_hold_counts_in_the_quota(tmp_path: Path) -> None:
    limits = {"max_bytes_per_client": 4 * SEGMENT}
    with serving(tmp_path / "data", **limits) as server, introduced(server) as owner:
        with owner.again() as peer:
            upload_id = started(peer, segments=3)
        wait_for_staged(server, 3 * SEGMENT)
        assert reason(lambda: owner.upload("g", BIG)) == wire.QUOTA
    with serving(tmp_path / "data", **limits) as server:  # also after a restart
        owner.port = server.port
        with owner.again() as peer:
            assert reason(lambda: peer.upload("g", BIG)) == wire.QUOTA
            # the upload itself can go on, or be given up
            assert peer.begin(upload_id, os.urandom(32), "f", len(BIG)) == 3 * SEGMENT
            peer.abandon(upload_id)
            peer.upload("g", BIG)
        until(server.is_tidy, "nothing else is kept")


def test_a_full_disk_is_told_with_a_time_to_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.quota._FREE_SPACE_SECONDS", 0.0)
    with serving(tmp_path / "data", min_free_bytes=2**62) as server, server.peer() as peer:
        with pytest.raises(RefusedError) as caught:
            peer.register()
        assert caught.value.reason == wire.SERVER_FULL
        assert caught.value.retry_after > 0
    with serving(tmp_path / "other") as server, introduced(server) as peer:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(server.listener.doors.services4.uploads.storage), "free_bytes",
                          lambda _self: 100)  # fmt: skip
            assert reason(lambda: peer.begin(os.urandom(16), bytes(32), "f", 101)) == (
                wire.SERVER_FULL
            )
            assert reason(lambda: peer.put("f", bytes(101))) == wire.SERVER_FULL
            peer.put("f", b"fits")
        until(server.is_tidy, "nothing else is kept")


def test_a_connection_has_a_few_uploads_open_and_is_told_so(server: Serving, peer: Peer4) -> None:
    salt = os.urandom(32)
    open_ones = [os.urandom(16) for _ in range(4)]
    for number, upload_id in enumerate(open_ones):
        assert peer.begin(upload_id, salt, f"f{number}", 1) == 0
    assert reason(lambda: peer.begin(os.urandom(16), salt, "f5", 1)) == wire.SERVER_FULL
    for upload_id in open_ones:
        peer.send_content(upload_id, salt, b"x")
        peer.end(upload_id, 1, wire.digest(b"x"))
    assert len(peer.names()) == 4
    assert server.is_tidy()
