"""Peers that break protocol 4, stall or flood: the server comes out of it whole.

`withstanding` checks after each: an honest client is served, no thread or descriptor is left,
nothing unverified is kept, nothing outside the data directory was touched.
"""

import os
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from server.session4 import Session4
from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut
from tests.peer4.serving import Serving, serves_honest, until, withstanding
from tests.peer4.wire import SEGMENT
from tests.server.hostile_requests4 import CODES, every_request

LIMITS = {"max_failed_attempts": 1_000_000, "max_connections_per_address": 1000}


def outcome(peer: Peer4) -> list[int]:
    """What comes until the end: codes of responses, or reasons of refusals (negative)."""
    seen = []
    try:
        while True:
            response = peer.receive()
            if response.code == wire.REFUSED:
                seen.append(-wire.RefusedError(response.payload).reason)
            else:
                seen.append(response.code)
    except (StreamCut, OSError):
        return seen


@pytest.mark.parametrize("code", CODES)
def test_a_message_that_ends_at_any_byte_does_nothing(tmp_path: Path, code: int) -> None:
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        whole = every_request(owner)[str(code)]
        # every byte where the fields are; the registration's key takes a sample
        cuts = range(len(whole)) if len(whole) < 200 else [*range(40), *range(40, len(whole), 29)]
        for cut in cuts:
            peer = owner.twin().open()
            if code > 3:
                peer.connect()
            peer.transmit(whole[:cut])
            peer.cut() if cut % 2 else peer.close()
        assert owner.names() == []
        assert len(list(server.repository.clients())) == 1


@pytest.mark.parametrize("code", CODES)
def test_a_payload_of_another_size_than_its_fields_is_refused(tmp_path: Path, code: int) -> None:
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        owner.put("f", b"x")
        payload = every_request(owner)[str(code)][wire.HEADER_BYTES :]
        # what is sealed takes the rest, whatever its size
        longer = () if code in {wire.SEGMENT_CODE, wire.PUT} else (payload[:-1], payload + b"\0")
        for wrong in (b"", payload[:1], payload[:10], *longer):
            if wrong == payload:
                continue
            with owner.twin() as peer:
                if code > 3:
                    peer.connect()
                peer.transmit(wire.message(code, wrong, 77))
                response = peer.receive()
                assert (response.code, response.request_id) == (wire.REFUSED, 77)
                assert wire.RefusedError(response.payload).reason == wire.PROTOCOL
                assert peer.at_end()
        assert owner.get("f")[1] == b"x"


@pytest.mark.parametrize("code", CODES)
def test_an_announced_payload_beyond_its_limit_is_refused_before_it_comes(
    tmp_path: Path, code: int
) -> None:
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        large = code in {wire.SEGMENT_CODE, wire.PUT}
        limit = wire.MAX_PAYLOAD if large else wire.MAX_OTHER_PAYLOAD
        for size in (limit + 1, 2**31, 2**32 - 1):
            with owner.twin() as peer:
                if code > 3:
                    peer.connect()
                peer.transmit(struct.pack("<BHII", 4, code, 5, size))
                response = peer.receive()
                assert (response.code, response.request_id) == (wire.REFUSED, 5)
                assert wire.RefusedError(response.payload).reason == wire.PROTOCOL
                assert peer.at_end()


def test_unknown_codes_and_versions_are_refused(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        codes = (0, 4, 15, 22, 31, 37, 1025, 32769, 32803, 33023, 65535)
        for known in (False, True):
            for code in codes:
                with owner.twin() as peer:
                    if known:
                        peer.connect()
                    peer.transmit(wire.message(code, b"", 9))
                    assert (peer.receive().request_id, outcome(peer)) == (9, [])
            for version in (0, 3, 5, 255):
                with owner.twin() as peer:
                    if known:
                        peer.connect()
                    peer.transmit(wire.message(wire.STAT, wire.text("f"), 9, version=version))
                    assert (peer.receive().request_id, outcome(peer)) == (0, [])


def test_values_outside_their_limits_are_refused(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        ids = bytes(48)
        name = wire.text("f")
        good = wire.Small("f", b"x", bytes(16))
        assert owner.client_id is not None
        bad_puts: tuple[list[wire.Small], ...] = (
            [replace(good, policy=3)],
            [replace(good, mode=0o10000)],
            [good, replace(good, name=b"\xff")],
            [replace(good, name="a\0b")],
            [replace(good, content=bytes(wire.SMALL + 1))],
            [replace(good, upload_id=bytes(16) + b"x")],
            [good] * 257,
            [],
        )
        bad = (
            (wire.BEGIN, ids + struct.pack("<QqHB", 2**63, 0, 0, 2) + name),
            (wire.BEGIN, ids + struct.pack("<QqHB", 2**64 - 2, 0, 0, 2) + name),
            (wire.BEGIN, ids + struct.pack("<QqHB", 1, 0, 0o10000, 2) + name),
            (wire.BEGIN, ids + struct.pack("<QqHB", 1, 0, 0, 3) + name),
            (wire.SEGMENT_CODE, bytes(16) + struct.pack("<QB", 0, 2) + bytes(17)),
            (wire.END, bytes(16) + struct.pack("<Q", 2**63) + bytes(32)),
            *((wire.PUT, wire.put(owner.secret, owner.client_id, files)) for files in bad_puts),
        )
        for code, payload in bad:
            with owner.again() as peer:
                peer.send(code, payload)
                assert outcome(peer) == [-wire.PROTOCOL]


def test_random_bytes_inside_tls_are_survived(tmp_path: Path) -> None:
    chance = random.Random(os.urandom(8))
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        for turn in range(60):
            with owner.twin() as peer:
                if turn % 2:
                    peer.connect()
                noise = chance.randbytes(chance.randrange(1, 3000))
                if turn % 3:  # get past the header
                    code = chance.choice(CODES)
                    noise = struct.pack("<BHII", 4, code, 1, chance.randrange(1, 3000)) + noise
                try:
                    peer.transmit(noise)
                    peer.tls.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
        assert owner.names() == []


def test_random_bytes_instead_of_tls_are_survived(tmp_path: Path) -> None:
    chance = random.Random(os.urandom(8))
    with withstanding(tmp_path, handshake_seconds=1.0) as server:
        for turn in range(40):
            with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
                start = (b"\x16", b"\x16\x03\x01", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")[
                    turn % 3
                ]
                plain.sendall(start + chance.randbytes(chance.randrange(2000)))


def test_mutated_messages_after_the_proof_are_survived(tmp_path: Path) -> None:
    chance = random.Random(os.urandom(8))
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        for _ in range(60):
            with owner.again() as peer:
                requests = every_request(peer)
                stream = bytearray(
                    b"".join(requests[str(code)] for code in chance.sample(CODES[3:], 5))
                )
                for _ in range(chance.randrange(1, 4)):
                    stream[chance.randrange(len(stream))] = chance.randrange(256)
                try:
                    peer.transmit(bytes(stream))
                except OSError:
                    continue
        for name in owner.names():
            owner.remove(name)


def test_a_refusal_arrives_while_the_peer_still_sends(tmp_path: Path) -> None:
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        for _ in range(10):
            with owner.again() as peer:
                peer.transmit(wire.message(99, b"", 3) + bytes(200_000))
                response = peer.receive()
                assert (response.code, response.request_id) == (wire.REFUSED, 3)


@pytest.mark.parametrize("code", [wire.STAT, wire.SEGMENT_CODE])
def test_a_byte_at_a_time_does_not_hold_a_connection_for_long(tmp_path: Path, code: int) -> None:
    limits = {"read_seconds": 0.5, "request_seconds": 0.5, "min_rate": 1000}
    with withstanding(tmp_path, **limits) as server, server.peer() as peer:
        peer.introduce()
        peer.transmit(struct.pack("<BHII", 4, code, 1, 60_000))
        with pytest.raises((StreamCut, OSError)):  # noqa: PT012
            for _ in range(600):
                peer.transmit(b"x")
                time.sleep(0.05)
            pytest.fail("it was waited for")


def test_a_byte_at_a_time_before_the_proof_ends_with_the_time_for_it(tmp_path: Path) -> None:
    with withstanding(tmp_path, handshake_seconds=0.5) as server, server.peer() as peer:  # noqa: SIM117
        with pytest.raises((StreamCut, OSError)):  # noqa: PT012
            for byte in wire.message(wire.CONNECT, bytes(16)) * 20:
                peer.transmit(bytes([byte]))
                time.sleep(0.05)
            peer.receive()
            pytest.fail("it was waited for")


def test_a_hundred_silent_connections_do_not_disturb_an_honest_client(tmp_path: Path) -> None:
    with withstanding(tmp_path, handshake_seconds=30.0) as server:
        silent = [server.peer().open() for _ in range(50)]
        plain = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(50)]
        with server.peer("busy") as peer:
            peer.introduce()
            content = os.urandom(2 * SEGMENT)
            peer.upload("f", content)
            assert peer.get("f")[1] == content
        for one in silent:
            one.cut()
        for other in plain:
            other.close()


def test_connections_are_limited_for_each_address(tmp_path: Path) -> None:
    with withstanding(tmp_path, max_connections_per_address=5) as server:
        held = [server.peer().open() for _ in range(5)]
        with pytest.raises(OSError, match=r"."):
            server.peer().open()
        with Peer4(server.port, "elsewhere", source="127.0.0.2") as other:
            other.introduce()
        for one in held:
            one.close()


def test_a_peer_that_never_reads_is_given_up(tmp_path: Path) -> None:
    with withstanding(tmp_path, read_seconds=0.5, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        owner.upload("f", bytes(20 * SEGMENT))
        peer = owner.again()
        get = wire.message(wire.GET, bytes(40) + wire.text("f"))
        try:
            for _ in range(5):
                peer.transmit(get)
            until(lambda: connections(server) == 1, "it is given up")
        finally:
            peer.cut()
        assert owner.stat("f").size == 20 * SEGMENT


def connections(server: Serving) -> int:
    return len(server.listener._places)


def test_segments_of_uploads_that_nobody_began_take_no_memory(tmp_path: Path) -> None:
    with withstanding(tmp_path) as server, server.peer() as peer:
        peer.introduce()
        (place,) = server.listener._places.values()
        for _ in range(300):
            peer.segment(os.urandom(16), 0, bytes(17), final=True)
        peer.names()
        assert isinstance(place.session, Session4)
        assert place.session._open_uploads is not None
        assert not place.session._open_uploads._failed


def test_pipelined_requests_of_every_kind_are_answered_in_order(tmp_path: Path) -> None:
    with withstanding(tmp_path) as server, server.peer() as peer:
        peer.introduce()
        sent = []
        for number in range(50):
            sent.append(peer.send_put(f"f{number}", b"x"))
            sent.append(peer.send(wire.STAT, wire.text(f"f{number}")))
            sent.append(peer.send(wire.REMOVE, wire.text(f"f{number}")))
            sent.append(peer.send(wire.STAT, wire.text(f"f{number}")))
        answers = [peer.receive() for _ in sent]
        assert [answer.request_id for answer in answers] == sent
        assert [answer.code for answer in answers] == [
            wire.STORED, wire.ENTRY, wire.DONE, wire.REFUSED,
        ] * 50  # fmt: skip


@pytest.mark.parametrize("ending", [Peer4.cut, Peer4.close])
def test_connections_that_end_anywhere_leave_nothing(
    tmp_path: Path, ending: Callable[[Peer4], None]
) -> None:
    with withstanding(tmp_path, **LIMITS) as server, server.peer() as owner:
        owner.introduce()
        for step in range(6):
            peer = owner.twin().open()
            if step > 0:
                peer.challenge()
            if step > 1:
                peer.connect()
            if step > 2:
                peer.begin(os.urandom(16), bytes(32), "f", None)
            if step > 3:
                peer.segment(os.urandom(16), 0, bytes(17), final=True)
            if step > 4:
                peer.send_get("nope", bytes(32))
            ending(peer)
        serves_honest(server, "another")
