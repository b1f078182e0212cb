"""What each side of the peer tells of the other's violations; a peer that sees none is no use."""

import struct
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import client as peer
from tests.peer import crypto, wire
from tests.peer.behaviour import Behaviour
from tests.peer.client import PeerClient
from tests.peer.server import PeerServer
from tests.peer.style import Style

CONTENT = b"content of three slices of 32 " * 3
CONTENT_SIZE_AT = wire.REQUEST_HEADER.size
ORIGINAL_SIZE_AT = CONTENT_SIZE_AT + 4
NUMBER_AT = CONTENT_SIZE_AT + 8
TOTAL_AT = CONTENT_SIZE_AT + 10
NAME_AT = CONTENT_SIZE_AT + 12

Change = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def server() -> Iterator[PeerServer]:
    with PeerServer("2024c") as running:
        yield running


@pytest.fixture
def client(server: PeerServer, key: rsa.RSAPrivateKey) -> Iterator[PeerClient]:
    """A registered client with an AES key, that sends packets of 32 bytes."""
    style = Style(packet_size=32)
    with PeerClient(server.port, "2024c", style=style, private_key=key) as connected:
        connected.register()
        connected.send_public_key()
        yield connected


def violations(server: PeerServer, client: PeerClient) -> str:
    """All that the server has to say, once it has read all the client sent."""
    client.close()
    server.settle()
    return "\n".join(server.violations)


def put(message: bytes, at: int, data: bytes) -> bytes:
    return message[:at] + data + message[at + len(data) :]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda p: p[1:], "packet 2 of 3 after 0 packets"),
        (lambda p: [p[0], p[2]], "packet 3 of 3 after 1 packets"),
        (lambda p: [p[0], p[0]], "packet 1 of 3 after 1 packets"),
        (lambda p: [put(p[0], NUMBER_AT, b"\0\0")], "packet 0 of 3"),
        (lambda p: [put(p[0], TOTAL_AT, b"\0\0")], "packet 1 of 0"),
        (lambda p: [p[0], put(p[1], TOTAL_AT, b"\x05\0")], "total changes"),
        (lambda p: [p[0], put(p[1], NAME_AT, b"x")], "file name or total changes"),
        (lambda p: [*p[:2], put(p[2], CONTENT_SIZE_AT, b"\x61")], "content size changes"),
        (lambda p: [put(q, CONTENT_SIZE_AT, b"\x70") for q in p], "of 96 bytes, said to be 112"),
        (lambda p: [put(q, CONTENT_SIZE_AT, b"\x50") for q in p], "filled up"),
        (lambda p: [put(q, CONTENT_SIZE_AT, b"\x51") for q in p], "no whole number of blocks"),
        (lambda p: [put(q, ORIGINAL_SIZE_AT, b"\x5c") for q in p], "original size 92"),
        (lambda p: [*p[:2], put(p[2], len(p[2]) - 32, bytes(32))], "padding"),
    ],
)
def test_packets(server: PeerServer, client: PeerClient, change: Change, told: str) -> None:
    client.send_raw(b"".join(change(client.file_requests("file", CONTENT))))
    with pytest.raises(peer.GeneralError):
        client._expect(client.generation.file_received, wire.FILE_RECEIVED.size)
    assert told in violations(server, client)


def test_sizes_that_are_no_sizes_of_the_payload(server: PeerServer, client: PeerClient) -> None:
    client.send_raw(client.request(client.generation.crc_valid, b"short"))
    client.send_raw(client.request(client.generation.send_file, b"short"))
    client.send_raw(client.request(client.generation.public_key, b"short"))
    for _ in range(3):
        assert client.read_response()[1] == client.generation.general_error
    told = violations(server, client)
    assert "payload of 5 bytes instead of 255" in told
    assert "payload of 5 bytes, less than its 267 of fields" in told
    assert "payload of 5 bytes instead of 415" in told


def test_a_file_of_the_other_kind() -> None:
    with PeerServer("2023a") as server, PeerClient(server.port) as client:
        client.register()
        client.send_public_key()
        (request,) = client.file_requests("file", CONTENT)
        client.send_raw(put(request, CONTENT_SIZE_AT, b"\x50"))
        with pytest.raises(peer.GeneralError):
            client._expect(client.generation.file_received, wire.FILE_RECEIVED.size)
        assert "content of 96 bytes, said to be 80" in violations(server, client)


@pytest.mark.parametrize(
    ("version", "code"), [(2, 828), (3, 1103), (3, 0)], ids=["version", "other code", "no code"]
)
def test_headers(server: PeerServer, client: PeerClient, version: int, code: int) -> None:
    client.send_raw(client.request(code, b"", version=version))
    assert client.read_response()[1] == client.generation.general_error
    assert f"header with version {version}, code {code}" in violations(server, client)


def test_another_clients_id(server: PeerServer, client: PeerClient) -> None:
    client.client_id = b"another client's"
    with pytest.raises(peer.GeneralError):
        client.send_file("file", CONTENT)
    assert "another client's id" in violations(server, client)


def test_sending_without_introduction(server: PeerServer) -> None:
    stranger = PeerClient(server.port, "2024c", client_id=b"another client's")
    stranger.aes_key = bytes(32)
    with stranger, pytest.raises(peer.GeneralError):
        stranger.send_file("file", b"")
    assert "neither registered nor reconnected" in violations(server, stranger)


def test_verdicts_nobody_waits_for(server: PeerServer, client: PeerClient) -> None:
    for verdict in (client.crc_valid, client.crc_abandoned):
        with pytest.raises(peer.GeneralError):
            verdict("file")
    client.send_file("file", CONTENT)
    with pytest.raises(peer.GeneralError):
        client.crc_valid("other")
    assert violations(server, client).count("waits for this") == 3


def test_giving_up_too_early(server: PeerServer, client: PeerClient) -> None:
    client.send_file("file", CONTENT)
    client.crc_abandoned("file")
    assert "giving up after 1 times" in violations(server, client)


def test_sending_again_too_often(key: rsa.RSAPrivateKey) -> None:
    with PeerServer("2023a", Behaviour(wrong_checksums=9)) as server:
        with PeerClient(server.port, private_key=key) as client:
            client.register()
            client.send_public_key()
            for _ in range(4):
                client.send_file("file", CONTENT)
                client.crc_invalid("file")
            client.send_file("file", CONTENT)
            client.crc_valid("file")
        server.settle()
        told = "\n".join(server.violations)
        assert "sending again although sent 4 times" in told
        assert "CRC valid although the checksum sent was wrong" in told


def test_not_sending_again(server: PeerServer, client: PeerClient) -> None:
    client.send_file("file", CONTENT)
    client.crc_invalid("file")
    assert "ended although the file was to be sent again" in violations(server, client)


def test_sending_something_else_again(server: PeerServer, client: PeerClient) -> None:
    client.send_file("file", CONTENT)
    client.crc_invalid("file")
    client.send_file("file", CONTENT + b"!")
    client.crc_valid("file")
    assert "another file than the one to be sent again" in violations(server, client)


def test_no_verdict(server: PeerServer, client: PeerClient) -> None:
    client.send_file("file", CONTENT)
    client.send_file("file", CONTENT)
    assert "before the verdict" in violations(server, client)


def test_another_message_after_the_general_error(key: rsa.RSAPrivateKey) -> None:
    with PeerServer("2023a", Behaviour(general_errors={"send_file": 1})) as server:
        with PeerClient(server.port, private_key=key) as client:
            client.register()
            client.send_public_key()
            with pytest.raises(peer.GeneralError):
                client.send_file("file", CONTENT)
            client.send_file("file", CONTENT + b"!")
            client.crc_valid("file")
        server.settle()
        assert "not the message that met the general error" in "\n".join(server.violations)


def test_a_message_too_often_after_the_general_error(key: rsa.RSAPrivateKey) -> None:
    with PeerServer("2023a", Behaviour(general_errors={"register": 4})) as server:
        with PeerClient(server.port, private_key=key) as client:
            for _ in range(4):
                with pytest.raises(peer.GeneralError):
                    client.register()
            client.register()
        server.settle()
        assert "more than 3 times" in "\n".join(server.violations)


@pytest.mark.parametrize("kept", [1, 22, 23, 100])
def test_an_end_within_a_request(server: PeerServer, client: PeerClient, kept: int) -> None:
    client.send_raw(client.file_requests("file", CONTENT)[0][:kept])
    assert "connection ended" in violations(server, client)


def test_an_end_between_packets(server: PeerServer, client: PeerClient) -> None:
    client.send_raw(client.file_requests("file", CONTENT)[0])
    assert "ended between the packets" in violations(server, client)


@pytest.mark.parametrize(
    ("name", "told"), [(b"", "empty name"), (b"\xf9\xec\xe5\xed", "not UTF-8")]
)
def test_names_that_are_none(server: PeerServer, name: bytes, told: str) -> None:
    client = PeerClient(server.port, "2024c", name=name)
    with client, pytest.raises(peer.GeneralError):
        client.register()
    assert told in violations(server, client)


def test_names_beyond_ascii_are_told(server: PeerServer) -> None:
    client = PeerClient(server.port, "2024c", name="שלום")
    with client:
        client.register()
    assert "name is not ASCII" in violations(server, client)


def test_public_keys(server: PeerServer) -> None:
    field = Style().name_field(b"peer")
    good = crypto.public_der(crypto.make_key())
    exponent_3 = good[:-1] + b"\x03"
    for der in (exponent_3, b"-----BEGIN" + good[10:], good[:20] + bytes(140)):
        client = PeerClient(server.port, "2024c")
        with client:
            client.register()
            client.send_raw(client.request(client.generation.public_key, field + der))
            client.read_response()
    told = violations(server, client)
    assert "public exponent 3" in told
    assert "no DER sequence" in told
    assert "public key does not load" in told


def test_a_client_resets(server: PeerServer, client: PeerClient) -> None:
    client.send_raw(b"begun")
    client.abort()
    server.settle()


def test_the_client_refuses_what_is_no_answer(client: PeerClient) -> None:
    client.send_raw(client.name_request(client.generation.reconnect, "peer"))
    with pytest.raises(peer.UnexpectedResponse, match="not an answer"):
        client._expect(client.generation.message_received, wire.ID_SIZE)
    client.send_raw(struct.pack("<16sBHI", bytes(16), 3, 0, 0))
    with pytest.raises(peer.GeneralError):
        client._expect(client.generation.message_received, wire.ID_SIZE)
