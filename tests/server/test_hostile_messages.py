"""Messages that are cut, of impossible sizes, of other versions or of no protocol at all."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peer import wire
from tests.peer.generations import GENERATIONS
from tests.server.hostile_sessions import SessionPeer, Sessions, sessions

SPOKEN = ["2023a", "2024a", "2024c"]
GENERAL_ERRORS = {name: GENERATIONS[name].general_error for name in SPOKEN}
CODES = [(name, code) for name in SPOKEN for code in GENERATIONS[name].requests]
MAX_FILE_BYTES = 2**20
CONTENT = b"content" * 5

every_code = pytest.mark.parametrize(("generation", "code"), CODES)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Sessions]:
    with sessions(
        tmp_path / "data", reuse_keys_seconds=60.0, max_file_bytes=MAX_FILE_BYTES
    ) as made:
        yield made


def whole(client: SessionPeer, code: int) -> bytes:
    """A good request with this code; of a file in packets the first packet."""
    generation = client.generation
    kind = generation.requests[code]
    if kind == "register":
        return client.register_request()
    if kind == "public_key":
        return client.public_key_request()
    if kind == "send_file":
        return client.file_requests("file", CONTENT)[0]
    return client.name_request(code, client.name if kind == "reconnect" else "file")


@every_code
def test_a_request_cut_anywhere_is_not_answered_and_leaves_nothing(
    served: Sessions, generation: str, code: int
) -> None:
    # The key table spares an introduction for each of the many connections.
    known = served.introduced(generation)
    known.close()
    data = whole(known, code)
    for cut in range(1, len(data)):
        client = served.again(known)
        client.send_raw(data[:cut])
        assert not client.answers, cut
        client.close()
        assert served.staged() == [], cut
    served.again(known).store("file", CONTENT)


@every_code
@pytest.mark.parametrize("size", [0, 1, 22, 2**31, 2**32 - 1])
def test_a_payload_of_impossible_size_is_answered_at_once_and_ends_the_connection(
    served: Sessions, generation: str, code: int, size: int
) -> None:
    client = served.introduced(generation)
    client.send_raw(wire.REQUEST_HEADER.pack(client.known_id, 3, code, size))
    assert client.codes() == [GENERAL_ERRORS[generation]]
    assert client.session.ended


# A packet may have any size that holds its header.
@pytest.mark.parametrize(
    ("generation", "code"),
    [(name, code) for name, code in CODES if (name, code) not in {("2024a", 1028), ("2024c", 828)}],
)
@pytest.mark.parametrize("more", [-1, 1])
def test_a_payload_one_byte_off_ends_the_connection(
    served: Sessions, generation: str, code: int, more: int
) -> None:
    client = served.introduced(generation)
    data = whole(client, code)
    size = len(data) - wire.REQUEST_HEADER.size + more
    client.send_raw(
        wire.REQUEST_HEADER.pack(client.known_id, 3, code, size)
        + data[wire.REQUEST_HEADER.size :]
        + b"x" * 300
    )
    assert client.codes() == [GENERAL_ERRORS[generation]]
    assert client.session.ended


def test_every_unknown_code_ends_the_connection(served: Sessions) -> None:
    known = {code for name in SPOKEN for code in GENERATIONS[name].requests}
    for code in {*range(3000), 0xFFFF, 0x8000} - known:
        client = served.peer()
        client.send_raw(wire.REQUEST_HEADER.pack(bytes(16), 3, code, 0))
        assert client.codes() == [2107], code
        assert client.session.ended, code


def test_every_other_version_ends_the_connection(served: Sessions) -> None:
    for version in set(range(256)) - {3}:
        client = served.peer()
        client.send_raw(wire.REQUEST_HEADER.pack(bytes(16), version, 1100, 255) + bytes(255))
        assert client.codes() == [2107], version
        assert client.session.ended, version


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        bytes.fromhex("16030100c8010000c40303") + bytes(190),
        b"\xff" * 64,
    ],
    ids=["http", "ssh", "tls", "ones"],
)
def test_another_protocol_ends_the_connection(served: Sessions, opening: bytes) -> None:
    client = served.peer()
    client.send_raw(opening)
    assert client.codes() == [2107]
    assert client.session.ended


def test_what_follows_a_broken_request_is_not_looked_at(served: Sessions) -> None:
    client = served.peer()
    client.send_raw(wire.REQUEST_HEADER.pack(bytes(16), 3, 7, 0) + client.register_request())
    assert client.codes() == [2107]
    assert list(served.repository.clients()) == []


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
def test_an_announcement_of_four_gigabytes_takes_no_memory(tmp_path: Path, generation: str) -> None:
    with sessions(tmp_path / "data") as served:
        client = served.introduced(generation)
        request = client.file_requests("file", bytes(100_000))[0]
        if client.generation.in_packets:
            payload = wire.PACKET_HEADER.pack(
                2**32 - 300, 2**32 - 1, 1, 1, b"file".ljust(255, b"\0")
            )
        else:
            payload = wire.FILE_HEADER.pack(2**32 - 1 - 259, b"file".ljust(255, b"\0"))
        header = wire.REQUEST_HEADER.pack(
            client.known_id, 3, client.generation.send_file, 2**32 - 1
        )  # fmt: skip
        data = header + payload + request[len(header) + len(payload) :]
        tracemalloc.start()
        try:
            client.send_raw(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert client.session.content_wanted > 2**31
        assert peak < 4 * 2**20  # two buffers of 1 MiB, whatever was announced
