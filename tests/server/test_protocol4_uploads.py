"""Uploads of protocol 4: what is acknowledged is whole, what fails leaves nothing behind."""

import errno
import os
import random
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.repository import RepositoryUnavailable
from tests.peer4 import wire
from tests.peer4.client import MODIFIED, Peer4, StreamCut
from tests.peer4.serving import ServerProcess4, Serving, reason, serving, until
from tests.peer4.wire import ALWAYS, IF_OLDER, NEVER, SEGMENT, Receipt, RefusedError
from tests.server.hostile_segments import BIG, bad_segments

SIZES = (0, 1, wire.SMALL, wire.SMALL + 1, SEGMENT, SEGMENT + 1, 3 * SEGMENT + 5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data") as running:
        yield running


@pytest.fixture
def everywhere(tmp_path: Path, database_url: str) -> Iterator[Serving]:
    """A server on each kind of database."""
    with serving(tmp_path / "data", database=database_url) as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer() as made:
        yield made.introduce()


def introduced(server: Serving, name: str = "alice") -> Peer4:
    return server.peer(name).open().introduce()


def started(peer: Peer4, content: bytes = BIG, segments: int = 2, name: str = "f") -> bytes:
    """An upload of which so many segments were sent; its id."""
    upload_id, salt = os.urandom(16), os.urandom(32)
    assert peer.begin(upload_id, salt, name, len(content)) == 0
    key = peer.key_of(upload_id, salt)
    for index, final, plain in wire.pieces(content)[:segments]:
        sealed = wire.seal(key, upload_id, index, plain, final=final)
        peer.segment(upload_id, index, sealed, final=final)
    return upload_id


def wait_for_staged(server: Serving, size: int) -> None:
    until(lambda: sum(path.stat().st_size for path in server.staged()) == size, "it is staged")


# What is stored, and its receipt


def test_files_of_every_size_are_stored_whole_with_a_receipt(everywhere: Serving) -> None:
    with introduced(everywhere) as peer:
        before = int(time.time())
        for size in SIZES:
            content = BIG[:size]
            for kind, announced in (("known", size), ("unknown", None)):
                name, upload_id = f"{kind}/{size}", os.urandom(16)
                receipt = peer.upload(name, content, upload_id=upload_id, announced=announced)
                check_receipt(receipt, peer, upload_id, name, content, before)
                entry, got = peer.get(name)
                assert got == content
                assert (entry.size, entry.sha256) == (size, wire.digest(content))
                assert (entry.modified, entry.mode, entry.cksum) == (MODIFIED, 0o640, None)
            if size <= wire.SMALL:
                upload_id = os.urandom(16)
                receipt = peer.put(f"put/{size}", content, upload_id=upload_id)
                check_receipt(receipt, peer, upload_id, f"put/{size}", content, before)
                assert peer.get(f"put/{size}")[1] == content
        assert all(content == BIG[: len(content)] for content in everywhere.stored().values())
    until(everywhere.is_tidy, "nothing else is kept")


def check_receipt(
    receipt: Receipt, peer: Peer4, upload_id: bytes, name: str, content: bytes, before: int
) -> None:
    assert receipt.receipt_key == peer.receipt_key
    assert receipt.client_id == peer.client_id
    assert receipt.upload_id == upload_id
    assert receipt.size == len(content)
    assert before <= receipt.received <= time.time()
    assert receipt.sha256 == wire.digest(content)
    assert (receipt.client_name, receipt.file_name) == (peer.name, name)


def test_the_extremes_of_time_and_mode_are_kept(peer: Peer4) -> None:
    for modified, mode in ((-(2**63), 0), (2**63 - 1, 0o7777), (-1, 0o644)):
        peer.send_put("f", b"x", modified=modified, mode=mode)
        peer.stored()
        entry = peer.stat("f")
        assert (entry.modified, entry.mode) == (modified, mode)


@pytest.mark.parametrize("policy", [NEVER, IF_OLDER, ALWAYS])
def test_every_step_repeated_gives_the_same_receipt(everywhere: Serving, policy: int) -> None:
    with introduced(everywhere) as peer:
        big, small = os.urandom(16), os.urandom(16)
        first = peer.upload("big", BIG, upload_id=big, policy=policy)
        put = peer.put("small", b"small", upload_id=small, policy=policy)
        for again in (peer, peer.again()):
            assert again.upload("big", BIG, upload_id=big, policy=policy) == first
            assert again.put("small", b"small", upload_id=small, policy=policy) == put
            # put after begin and begin after put, of one upload
            assert again.upload("small", b"small", upload_id=small, policy=policy) == put
            again.close()
        assert everywhere.stored() == {"big": BIG, "small": b"small"}
    until(everywhere.is_tidy, "nothing else is kept")


def test_a_put_repeated_in_one_batch_is_stored_once(everywhere: Serving) -> None:
    with introduced(everywhere) as peer:
        upload_id = os.urandom(16)
        sent = [peer.send_put("f", b"x", upload_id=upload_id, policy=NEVER) for _ in range(5)]
        assert len({peer.stored(request_id) for request_id in sent}) == 1
    until(everywhere.is_tidy, "nothing else is kept")


def test_a_receipt_is_given_again_even_when_the_quota_is_used_up(tmp_path: Path) -> None:
    with serving(tmp_path / "data", max_files_per_client=1) as server:
        with introduced(server) as peer:
            upload_id = os.urandom(16)
            first = peer.put("f", b"x", upload_id=upload_id)
            assert peer.put("f", b"x", upload_id=upload_id) == first
            assert peer.upload("f", b"x", upload_id=upload_id) == first
            assert reason(lambda: peer.put("g", b"x")) == wire.QUOTA
        until(server.is_tidy, "nothing else is kept")


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


# Several at once


def test_of_two_attempts_at_an_upload_the_second_takes_over(everywhere: Serving) -> None:
    with introduced(everywhere) as first, first.again() as second:
        upload_id, salt = os.urandom(16), os.urandom(32)
        assert first.begin(upload_id, salt, "f", len(BIG)) == 0
        key = first.key_of(upload_id, salt)
        pieces = wire.pieces(BIG)
        sealed = [wire.seal(key, upload_id, i, plain, final=final) for i, final, plain in pieces]
        first.segment(upload_id, 0, sealed[0], final=False)
        first.names()
        receipt = second.upload("f", BIG, upload_id=upload_id)
        first.segment(upload_id, 1, sealed[1], final=False)
        assert first.refusal() == wire.UNKNOWN_UPLOAD
        first.segment(upload_id, 2, sealed[2], final=False)
        assert reason(lambda: first.end(upload_id, len(BIG), wire.digest(BIG))) == (
            wire.UNKNOWN_UPLOAD
        )
        assert first.get("f")[1] == BIG
        assert first.upload("f", BIG, upload_id=upload_id) == receipt
    until(everywhere.is_tidy, "nothing else is kept")


def test_many_attempts_at_one_upload_store_one_whole_file(server: Serving) -> None:
    with introduced(server) as owner:
        for turn in range(4):
            upload_id, name = os.urandom(16), f"f{turn}"

            def attempt(number: int, upload_id: bytes = upload_id, name: str = name) -> bytes:
                # Each has another content in mind: a mixture would verify for nobody.
                content = bytes([number]) * (2 * SEGMENT + 7)
                with owner.again() as peer:
                    while True:
                        try:
                            return peer.upload(name, content, upload_id=upload_id).sha256
                        except RefusedError as error:
                            if error.reason not in {wire.UNKNOWN_UPLOAD, wire.DIGEST_MISMATCH}:
                                raise

            with ThreadPoolExecutor(4) as pool:
                digests = set(pool.map(attempt, range(4)))
            assert digests == {wire.digest(owner.get(name)[1])}
    until(server.is_tidy, "nothing else is kept")


def test_a_begin_that_comes_while_the_upload_is_published_gets_its_receipt(
    server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = server.listener.doors.services4.uploads
    real, publishing, go_on = uploads.publish, threading.Event(), threading.Event()

    def slow(_self: object, batch: Any, event: Any) -> Any:  # noqa: ANN401 - as the real one
        publishing.set()
        assert go_on.wait(10)
        return real(batch, event)

    monkeypatch.setattr(type(uploads), "publish", slow)
    with introduced(server) as first, first.again() as second:
        upload_id, salt = os.urandom(16), os.urandom(32)
        assert first.begin(upload_id, salt, "f", len(BIG), policy=NEVER) == 0
        first.send_content(upload_id, salt, BIG)
        first.send_end(upload_id, len(BIG), wire.digest(BIG))
        assert publishing.wait(10)
        second.send_begin(upload_id, os.urandom(32), "f", len(BIG), policy=NEVER)
        time.sleep(0.1)  # it must not get anywhere meanwhile
        go_on.set()
        receipt = first.stored()
        assert second.stored() == receipt
        assert second.get("f")[1] == BIG


def test_one_name_uploaded_by_many_at_once_holds_one_of_the_contents(everywhere: Serving) -> None:
    with introduced(everywhere) as owner:
        contents = [bytes([number]) * (SEGMENT + number) for number in range(4)]

        def send(content: bytes) -> None:
            with owner.again() as peer:
                for _ in range(3):
                    peer.upload("f", content)
                    peer.put("f", content[:1000])
                peer.upload("f", content)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, contents))
        assert owner.get("f")[1] in contents
    until(everywhere.is_tidy, "only the last one is kept")


def test_clients_of_the_same_file_name_do_not_meet(server: Serving) -> None:
    with introduced(server, "alice") as alice, introduced(server, "bob") as bob:
        upload_id = os.urandom(16)
        alice.upload("f", BIG, upload_id=upload_id)
        bob.upload("f", b"bob's", upload_id=upload_id)
        assert alice.get("f")[1] == BIG
        assert bob.get("f")[1] == b"bob's"


# Policies


def test_policies_decide_what_a_file_replaces(everywhere: Serving) -> None:
    with introduced(everywhere) as peer:
        peer.put("f", b"first", modified=100)
        for content in (b"put", BIG):
            send = peer.put if len(content) <= wire.SMALL else peer.upload
            for policy, modified in ((NEVER, 200), (IF_OLDER, 100), (IF_OLDER, 99)):
                assert (
                    reason(lambda s=send, c=content, p=policy, m=modified: s(  # type: ignore[misc]
                        "f", c, policy=p, modified=m))
                    == wire.EXISTS
                )  # fmt: skip
            assert peer.get("f")[1] == b"first"
        peer.put("f", b"newer", policy=IF_OLDER, modified=101)
        assert peer.get("f")[1] == b"newer"
        peer.upload("f", BIG, policy=IF_OLDER, modified=102)
        assert peer.get("f")[1] == BIG
        peer.put("f", b"older", policy=ALWAYS, modified=1)
        assert peer.get("f")[1] == b"older"
    until(everywhere.is_tidy, "nothing else is kept")


def test_of_many_who_must_not_replace_one_wins(everywhere: Serving) -> None:
    with introduced(everywhere) as owner:
        for turn in range(3):
            barrier = threading.Barrier(4)

            def send(number: int, turn: int = turn, barrier: threading.Barrier = barrier) -> bool:
                with owner.again() as peer:
                    upload_id, salt, content = os.urandom(16), os.urandom(32), bytes([number]) * 99
                    peer.begin(upload_id, salt, f"f{turn}", 99, policy=NEVER)
                    peer.send_content(upload_id, salt, content)
                    barrier.wait()
                    try:
                        peer.end(upload_id, 99, wire.digest(content))
                    except RefusedError as error:
                        if error.reason != wire.EXISTS:
                            raise
                        return False
                    return peer.get(f"f{turn}")[1] == content

            with ThreadPoolExecutor(4) as pool:
                assert sum(pool.map(send, range(4))) == 1
    until(everywhere.is_tidy, "nothing else is kept")


def test_of_many_who_replace_older_ones_the_newest_stays(everywhere: Serving) -> None:
    with introduced(everywhere) as owner:

        def send(number: int) -> None:
            with owner.again() as peer:
                for _ in range(5):
                    try:
                        peer.put("f", bytes([number]), policy=IF_OLDER, modified=number)
                    except RefusedError as error:
                        if error.reason != wire.EXISTS:
                            raise

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, range(4)))
        assert owner.get("f")[1] == b"\3"
    until(everywhere.is_tidy, "nothing else is kept")


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


# Failures of disk and database


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


def sealed_put(peer: Peer4, name: str) -> bytes:
    """The message that puts a small file."""
    return wire.message(wire.PUT, peer.put_payload([wire.Small(name, b"x", os.urandom(16))]))


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


# Batches


def test_a_thousand_small_files_with_bad_ones_among_them_are_answered_in_order(
    everywhere: Serving,
) -> None:
    with introduced(everywhere) as peer:
        peer.put("there", b"already")
        expected: list[tuple[int, int]] = []
        for number in range(1000):
            content = b"%d" % number
            if number % 10 == 3:
                expected.append((peer.send_put("../x", content), wire.UNSAFE_NAME))
            elif number % 10 == 5:
                expected.append((peer.send_put("there", content, policy=NEVER), wire.EXISTS))
            elif number % 10 == 7:
                request_id = peer.send_put("lie", content, sha256=bytes(32))
                expected.append((request_id, wire.DIGEST_MISMATCH))
            else:
                expected.append((peer.send_put(f"{number}", content), 0))
        answers = []
        for _ in range(1000):
            response = peer.receive()
            refused = RefusedError(response.payload).reason if response.code == wire.REFUSED else 0
            answers.append((response.request_id, refused))
        assert answers == expected
        stored = everywhere.stored()
        assert stored.pop("there") == b"already"
        assert stored == {f"{n}": b"%d" % n for n in range(1000) if n % 10 not in {3, 5, 7}}
    until(everywhere.is_tidy, "nothing else is kept")


def test_one_small_file_is_answered_without_another_byte(peer: Peer4) -> None:
    assert peer.stored(peer.send_put("f", b"x")).size == 1


def test_a_small_file_is_answered_before_the_rest_of_the_next_message_comes(peer: Peer4) -> None:
    request_id = peer.send_put("f", b"x")
    peer.transmit(wire.message(wire.STAT, wire.text("f"), 99)[:9])
    assert peer.stored(request_id).size == 1
    peer.transmit(wire.message(wire.STAT, wire.text("f"), 99)[9:])
    peer.expect(wire.ENTRY, 99)


def test_what_follows_small_files_sees_them(peer: Peer4) -> None:
    both = (
        sealed_put(peer, "a") + sealed_put(peer, "b") + wire.message(wire.STAT, wire.text("b"), 7)
    )
    peer.transmit(both)
    peer.stored()
    peer.stored()
    assert wire.read_entry(peer.expect(wire.ENTRY, 7))[0].name == "b"


def test_small_files_received_whole_are_kept_when_the_connection_breaks(server: Serving) -> None:
    with introduced(server) as owner:
        peer = owner.again()
        peer.transmit(b"".join(sealed_put(peer, f"{number}") for number in range(20)) + b"\4")
        peer.close()
        until(lambda: len(owner.names()) == 20, "they are stored")
    until(server.is_tidy, "nothing else is kept")


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
