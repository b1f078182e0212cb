"""How a data connection begins on a port that protocol 3 and TLS share."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.repository import Client
from tests.peer import crypto
from tests.peer.cksum import cksum
from tests.peer.client import PeerClient
from tests.peer.style import Style
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.peer4.serving import Serving, serves_honest, serving, withstanding
from tests.server.data_connections import stored_by
from tests.server.hostile_sessions import private_key

LIMITS = {"max_failed_attempts": 1_000_000, "max_connections_per_address": 1000}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what a server beyond loopback listens on
DONE = wire.message(wire.DONE, b"", 0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "data", **LIMITS) as running:
        yield running


@pytest.fixture
def peer(server: Serving) -> Iterator[Peer4]:
    with server.peer() as made:
        yield made.introduce()


def answered(port: int, beginning: bytes) -> bytes:
    """All that comes in answer to these bytes until the server ends the connection."""
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        try:
            connection.sendall(beginning)
            while data := connection.recv(4096):
                received += data
        except (ConnectionResetError, BrokenPipeError):
            pass
    return bytes(received)


def test_a_beginning_that_comes_byte_by_byte_is_understood(peer: Peer4) -> None:
    with peer.dial() as data:
        for byte in wire.DATA_PREFACE + peer.ticket():
            data.transmit(bytes([byte]))
            time.sleep(0.005)
        stored_by(peer, data.accepted())


@pytest.mark.parametrize("pieces", [(1,), (15,), (16,), (17,), (10, 20, 40), (47,)])
def test_a_beginning_in_pieces_is_understood(peer: Peer4, pieces: tuple[int, ...]) -> None:
    whole = wire.DATA_PREFACE + peer.ticket()
    with peer.dial() as data:
        for start, stop in zip((0, *pieces), (*pieces, None), strict=True):
            data.transmit(whole[start:stop])
            time.sleep(0.05)
        stored_by(peer, data.accepted())


def test_segments_may_follow_the_ticket_at_once(peer: Peer4) -> None:
    # Before *done* was read: the server must take them, not lose them.
    upload_id, salt, content = os.urandom(16), os.urandom(32), b"not waited" * 1000
    assert peer.begin(upload_id, salt, "f", len(content)) == 0
    sealed = wire.seal(peer.key_of(upload_id, salt), upload_id, 0, content, final=True)
    segment = upload_id + bytes(8) + b"\1" + sealed
    with peer.dial() as data:
        data.transmit(wire.DATA_PREFACE + peer.ticket() + wire.message(wire.SEGMENT_CODE, segment))
        data.accepted()
        assert peer.end(upload_id, len(content), wire.digest(content)).size == len(content)


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_a_beginning_that_never_ends_is_given_up(tmp_path: Path, host: str) -> None:
    limits = LIMITS | {"handshake_seconds": 0.5, "idle_seconds": 0.5}
    with withstanding(tmp_path, host=host, **limits) as server:
        beginning = wire.DATA_PREFACE + bytes(32)
        for size in (1, 9, 15, 16, 17, 47):
            assert answered(server.port, beginning[:size]) == b""


def test_a_beginning_that_comes_too_slowly_is_given_up(tmp_path: Path) -> None:
    with (  # noqa: PT012
        withstanding(tmp_path, handshake_seconds=0.5, **LIMITS) as server,
        socket.create_connection(("127.0.0.1", server.port), 20) as slow,
        pytest.raises(OSError, match=r"."),
    ):
        for byte in (wire.DATA_PREFACE + bytes(32)) * 10:
            slow.sendall(bytes([byte]))
            time.sleep(0.05)
        pytest.fail("it was waited for")


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_many_that_begin_and_say_no_more_do_not_disturb_an_honest_client(
    tmp_path: Path, host: str
) -> None:
    with withstanding(tmp_path, host=host, **LIMITS) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port), 20) for _ in range(30)]
        for number, one in enumerate(silent):
            one.sendall((wire.DATA_PREFACE + bytes(32))[: number + 1])
        with server.peer("busy") as peer:
            peer.introduce()
            with peer.attach() as data:
                stored_by(peer, data)
        for one in silent:
            one.close()


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_a_preface_with_one_wrong_byte_opens_nothing_and_uses_up_no_ticket(
    tmp_path: Path, host: str
) -> None:
    # Where protocol 3 is served it is a client id of that; elsewhere it is nothing at all.
    limits = LIMITS | {"handshake_seconds": 1.0, "read_seconds": 1.0}
    with withstanding(tmp_path, host=host, **limits) as server, server.peer() as peer:
        ticket = peer.introduce().ticket()
        for at in range(16):
            wrong = bytearray(wire.DATA_PREFACE)
            wrong[at] ^= 1
            answer = answered(server.port, bytes(wrong) + ticket + bytes(23))
            assert not answer.startswith(DONE)
            assert answer == b"" or (host != EVERYWHERE and answer[0] == 3)
        for preface in (b"", b"\x16" + wire.DATA_PREFACE[1:], b"EFT/4 data", b"EFT/3 data\0"):
            assert DONE not in answered(server.port, preface + ticket + bytes(80))
        with peer.dial() as data:
            stored_by(peer, data.open(ticket).accepted())


# Protocol 3 beside it


@pytest.mark.parametrize(
    "client_id",
    [
        b"E" * 16,
        b"EFT/4 data" + b"\1" * 6,
        wire.DATA_PREFACE[:15] + b"\1",
        wire.DATA_PREFACE[:9] + bytes(7),
        b"D" + wire.DATA_PREFACE[1:],
    ],
    ids=bytes.hex,
)
@pytest.mark.parametrize("piece_size", [None, 1, 16])
@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
def test_clients_of_protocol_3_are_served_whatever_their_id_begins_with(
    tmp_path: Path, client_id: bytes, piece_size: int | None, host: str
) -> None:
    with serving(tmp_path / "data", host=host, allow_protocol_3=True) as server:
        key = private_key()
        server.repository.add_client(Client(client_id, "old", 1, 1, crypto.public_der(key)))
        with PeerClient(
            server.port, name="old", client_id=client_id, private_key=key,
            style=Style(piece_size=piece_size),
        ) as old:  # fmt: skip
            old.reconnect()
            assert old.send_file("f", b"old content").checksum == cksum(b"old content")
            old.crc_valid("f")
            assert not old.violations
        assert server.stored() == {"f": b"old content"}


def test_a_data_connection_is_served_where_protocol_3_is_not(tmp_path: Path) -> None:
    with serving(tmp_path / "data", host=EVERYWHERE, **LIMITS) as server:
        with server.peer() as peer:
            peer.introduce()
            with peer.attach() as data:
                stored_by(peer, data)
        for client_id in (b"E" * 16, b"F" * 16, wire.DATA_PREFACE[:15] + b"\1"):
            request = client_id + b"\3" + (1025).to_bytes(2, "little") + (255).to_bytes(4, "little")
            assert answered(server.port, request + b"old".ljust(255, b"\0")) == b""
        serves_honest(server)
