"""Files in packets: every order and every size that makes no file is refused, and only once."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.peer import wire
from tests.peer.style import Packets, Style
from tests.server.hostile_sessions import Sessions, sessions

CONTENT = b"some content that takes several blocks " * 5

Spoil = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Sessions]:
    with sessions(tmp_path / "data") as made:
        yield made
        made.close_peers()
        assert made.staged() == []


def with_fields(request: bytes, **fields: int) -> bytes:
    """The packet with other numbers in its header."""
    at = wire.REQUEST_HEADER.size
    names = ("size", "original", "number", "total")
    now = dict(zip(names, struct.unpack_from("<IIHH", request, at), strict=True)) | fields
    return request[:at] + struct.pack("<IIHH", *now.values()) + request[at + 12 :]


def last(requests: list[bytes], **fields: int) -> list[bytes]:
    return [*requests[:-1], with_fields(requests[-1], **fields)]


SPOILT: dict[str, Spoil] = {
    "out of order": lambda r: [r[1], r[0], *r[2:]],
    "reversed after the first": lambda r: [r[0], r[2], r[1], *r[3:]],
    "one repeated": lambda r: [*r[:2], r[1], *r[2:]],
    "the first missing": lambda r: r[1:],
    "one missing": lambda r: [r[0], *r[2:]],
    "a number beyond the total": lambda r: last(r, number=len(r) + 1),
    "another total at the end": lambda r: last(r, total=2, number=2),
    "another size at the end": lambda r: last(r, size=0),
    "only the last": lambda r: r[-1:],
    "of none": lambda r: [with_fields(r[0], number=1, total=0)],
    "zero of none": lambda r: [with_fields(r[0], number=0, total=0)],
    "two of one": lambda r: [with_fields(r[0], number=2, total=1)],
    "shorter than announced": lambda r: [with_fields(p, size=100_000) for p in r],
    "of no ciphertext": lambda r: [with_fields(p, size=0) for p in r],
    "beyond every limit": lambda r: [with_fields(p, size=2**32 - 1) for p in r],
    "of another name at the end": lambda r: [*r[:-1], r[-1].replace(b"file\0", b"life\0")],
}


@pytest.mark.parametrize("packets", [Packets.ONE_CIPHERTEXT, Packets.OWN_CIPHERTEXTS])
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_packets_that_make_no_file_are_refused_once_and_can_be_sent_again(
    tmp_path: Path, spoil: Spoil, packets: Packets
) -> None:
    with sessions(tmp_path / "data", max_file_bytes=2**20) as served:
        client = served.introduced("2024c", style=Style(packets, packet_size=48))
        requests = spoil(client.file_requests("file", CONTENT))
        client.send_raw(b"".join(requests))
        assert client.codes() == [1607]
        assert served.staged() == []
        client.store("file", CONTENT)


@pytest.mark.parametrize("packets", Packets)
def test_of_a_files_packets_only_the_last_is_answered(served: Sessions, packets: Packets) -> None:
    client = served.introduced("2024c", style=Style(packets, packet_size=48))
    requests = client.file_requests("file", CONTENT)
    for request in requests[:-1]:
        client.send_raw(request)
        assert client.codes() == []
    client.send_raw(requests[-1])
    assert client.codes() == [1603]


def test_of_a_refused_files_packets_only_the_last_is_answered(served: Sessions) -> None:
    client = served.introduced("2024c", style=Style(packet_size=48))
    requests = client.file_requests("..", CONTENT)
    client.send_raw(b"".join(requests[:-1]))
    assert client.codes() == []
    client.send_raw(requests[-1])
    assert client.codes() == [1607]


def test_own_ciphertexts_bring_no_more_than_the_first_packet_announced(served: Sessions) -> None:
    client = served.introduced("2024c", style=Style(Packets.OWN_CIPHERTEXTS, packet_size=48))
    requests = client.file_requests("file", CONTENT)
    client.send_raw(b"".join([with_fields(requests[0], original=1), *requests[1:]]))
    assert client.codes() == [1607]


def test_a_transfer_is_under_way_between_two_packets(served: Sessions) -> None:
    client = served.introduced("2024c", style=Style(packet_size=48))
    client.send_raw(client.file_requests("file", CONTENT)[0])
    assert client.session.between_requests
    assert client.session.busy
