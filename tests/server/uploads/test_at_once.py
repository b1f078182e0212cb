"""Several uploads at once, and many small files in one batch."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.serving import Serving, reason, until
from tests.peer4.wire import NEVER, SEGMENT, RefusedError
from tests.server.hostile_segments import BIG
from tests.server.uploads.sending import introduced, sealed_put

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
