"""A file's content as one message, as slices of one ciphertext, and as packets of their own."""

import random
from dataclasses import dataclass, field
from typing import cast

import pytest

from protocol.messages3 import SendFile, SendPacket
from server.content3 import RECEIVE_BYTES, IncomingContent
from server.errors import Refused, UndecipherableContent
from server.receiving import Upload
from tests.peer import crypto

KEY = bytes(range(32))
NAME = "report.txt"
PLAIN = random.Random(3).randbytes(1000)
CIPHERTEXT = crypto.encrypt(KEY, PLAIN)


@dataclass
class _Written:
    """Stands for an upload: keeps what is written, and the largest piece of it."""

    plain: bytearray = field(default_factory=bytearray)
    largest: int = 0

    def write(self, plain: memoryview) -> None:
        self.plain += plain
        self.largest = max(self.largest, len(plain))


class _Incoming:
    """The content under test; `bring` is one request from its head to its end."""

    def __init__(self) -> None:
        self.written = _Written()
        self.content = IncomingContent(KEY, cast("Upload", self.written))

    def bring(self, request: SendFile | SendPacket, content: bytes, piece: int = 100) -> bool:
        self.content.open(request, len(content))
        for start in range(0, len(content), piece):
            self.content.take(memoryview(content)[start : start + piece])
        return self.content.close()


def _packet(
    number: int, total: int, *, size: int = len(CIPHERTEXT), original: int = 1000, name: str = NAME
) -> SendPacket:
    return SendPacket(size, original, number, total, name)


def _slices(count: int) -> list[bytes]:
    size = -(-len(CIPHERTEXT) // count)
    return [CIPHERTEXT[start : start + size] for start in range(0, len(CIPHERTEXT), size)]


def _own(count: int) -> list[bytes]:
    size = -(-len(PLAIN) // count)
    return [crypto.encrypt(KEY, PLAIN[at : at + size]) for at in range(0, len(PLAIN), size)]


@pytest.fixture
def incoming() -> _Incoming:
    return _Incoming()


# One message


@pytest.mark.parametrize("piece", [1, 15, 16, 17, 1008, 5000])
def test_a_whole_file_is_complete_at_once(incoming: _Incoming, piece: int) -> None:
    assert incoming.bring(SendFile(len(CIPHERTEXT), NAME), CIPHERTEXT, piece)
    assert incoming.written.plain == PLAIN


def test_an_empty_file_is_a_block_of_padding(incoming: _Incoming) -> None:
    assert incoming.bring(SendFile(16, NAME), crypto.encrypt(KEY, b""))
    assert incoming.written.plain == b""


def test_a_whole_file_that_does_not_decrypt_is_refused(incoming: _Incoming) -> None:
    with pytest.raises(UndecipherableContent):
        incoming.bring(SendFile(32, NAME), bytes(32))


def test_a_piece_larger_than_the_buffers_is_written_in_smaller_ones(incoming: _Incoming) -> None:
    plain = bytes(3 * RECEIVE_BYTES)
    ciphertext = crypto.encrypt(KEY, plain)
    incoming.bring(SendFile(len(ciphertext), NAME), ciphertext, len(ciphertext))
    assert incoming.written.plain == plain
    assert incoming.written.largest <= RECEIVE_BYTES + 16


# Slices of one ciphertext


@pytest.mark.parametrize("count", [1, 2, 3, 7, 63, 504])
def test_slices_of_one_ciphertext_make_the_file(incoming: _Incoming, count: int) -> None:
    slices = _slices(count)
    completed = [
        incoming.bring(_packet(number, len(slices)), content)
        for number, content in enumerate(slices, 1)
    ]
    assert completed == [False] * (len(slices) - 1) + [True]
    assert incoming.written.plain == PLAIN


def test_what_fills_up_the_last_slice_is_passed_over(incoming: _Incoming) -> None:
    first, second, third = _slices(3)
    incoming.bring(_packet(1, 3), first)
    incoming.bring(_packet(2, 3), second)
    assert incoming.bring(_packet(3, 3), third + b"garbage" * 20)
    assert incoming.written.plain == PLAIN


def test_what_fills_up_a_single_packet_is_passed_over(incoming: _Incoming) -> None:
    assert incoming.bring(_packet(1, 1), CIPHERTEXT + bytes(300))
    assert incoming.written.plain == PLAIN


def test_a_last_slice_that_is_all_filling_is_passed_over(incoming: _Incoming) -> None:
    incoming.bring(_packet(1, 2), CIPHERTEXT + b"x")
    assert incoming.bring(_packet(2, 2), b"garbage")
    assert incoming.written.plain == PLAIN


def test_slices_that_end_before_the_announced_size_are_refused(incoming: _Incoming) -> None:
    first, second = _slices(2)
    incoming.bring(_packet(1, 2), first)
    with pytest.raises(Refused, match="16 bytes of the announced content are missing"):
        incoming.bring(_packet(2, 2), second[:-16])


def test_slices_that_do_not_decrypt_are_refused_at_the_last(incoming: _Incoming) -> None:
    first, second = _slices(2)
    incoming.bring(_packet(1, 2), first)
    with pytest.raises(UndecipherableContent):
        incoming.bring(_packet(2, 2), bytes(len(second)))


# Packets that are ciphertexts of their own


@pytest.mark.parametrize("count", [2, 3, 7, 100])
def test_packets_of_their_own_make_the_file(incoming: _Incoming, count: int) -> None:
    packets = _own(count)
    completed = [
        incoming.bring(_packet(number, len(packets), size=len(content)), content)
        for number, content in enumerate(packets, 1)
    ]
    assert completed == [False] * (len(packets) - 1) + [True]
    assert incoming.written.plain == PLAIN


def test_what_fills_up_a_later_packet_of_its_own_is_passed_over(incoming: _Incoming) -> None:
    first, second = _own(2)
    incoming.bring(_packet(1, 2, size=len(first)), first)
    assert incoming.bring(_packet(2, 2, size=len(second)), second + b"garbage")
    assert incoming.written.plain == PLAIN


def test_a_packet_of_its_own_that_does_not_decrypt_is_refused_at_once(incoming: _Incoming) -> None:
    with pytest.raises(UndecipherableContent):
        incoming.bring(_packet(1, 2, size=32), bytes(32))


def test_a_packet_of_its_own_that_is_too_short_is_refused(incoming: _Incoming) -> None:
    first, second = _own(2)
    incoming.bring(_packet(1, 2, size=len(first)), first)
    with pytest.raises(Refused, match="are missing"):
        incoming.bring(_packet(2, 2, size=len(second)), second[:-16])


def test_a_packet_of_its_own_without_content_is_refused(incoming: _Incoming) -> None:
    first, _ = _own(2)
    incoming.bring(_packet(1, 2, size=len(first)), first)
    with pytest.raises(Refused):
        incoming.bring(_packet(2, 2, size=0), b"")


# Sequences


@pytest.mark.parametrize(
    "second",
    [
        _packet(1, 3),
        _packet(3, 3),
        _packet(0, 3),
        _packet(65535, 3),
        _packet(2, 4),
        _packet(2, 2),
        _packet(2, 3, name="other.txt"),
        _packet(2, 3, size=len(CIPHERTEXT) + 16),
    ],
    ids=["again", "skipped", "zero", "last of all", "more", "fewer", "other name", "other size"],
)
def test_a_packet_that_does_not_follow_is_refused(incoming: _Incoming, second: SendPacket) -> None:
    first, content, _ = _slices(3)
    incoming.bring(_packet(1, 3), first)
    with pytest.raises(Refused, match="does not follow packet 1"):
        incoming.content.open(second, len(content))


@pytest.mark.parametrize("second", [_packet(1, 3, size=352), _packet(3, 3, size=352)])
def test_a_packet_of_its_own_that_does_not_follow_is_refused(
    incoming: _Incoming, second: SendPacket
) -> None:
    first, content, _ = _own(3)
    incoming.bring(_packet(1, 3, size=len(first)), first)
    with pytest.raises(Refused, match="does not follow packet 1"):
        incoming.content.open(second, len(content))


def test_a_packet_after_the_last_is_refused(incoming: _Incoming) -> None:
    incoming.bring(_packet(1, 1), CIPHERTEXT)
    with pytest.raises(Refused, match="packet 2 of 1"):
        incoming.content.open(_packet(2, 1), 16)


@pytest.mark.parametrize(("number", "total"), [(1, 0), (0, 0), (0, 1), (2, 1)])
def test_a_first_packet_with_impossible_numbers_is_refused(
    incoming: _Incoming, number: int, total: int
) -> None:
    with pytest.raises(Refused, match=f"packet {number} of {total}"):
        incoming.content.open(_packet(number, total), 16)


# Announced sizes


def test_a_whole_file_announces_at_most_its_ciphertext() -> None:
    assert IncomingContent.announced_bytes(SendFile(1008, NAME)) == 1008


@pytest.mark.parametrize(
    ("size", "original", "announced"), [(1008, 1000, 1008), (352, 1000, 1000), (16, 0, 16)]
)
def test_a_packet_announces_the_larger_of_its_two_sizes(
    size: int, original: int, announced: int
) -> None:
    request = _packet(1, 3, size=size, original=original)
    assert IncomingContent.announced_bytes(request) == announced


@pytest.mark.parametrize("request_", [SendFile(0, NAME), _packet(1, 1, size=0, original=5)])
def test_a_file_of_no_ciphertext_at_all_is_refused(request_: SendFile | SendPacket) -> None:
    with pytest.raises(Refused, match="no ciphertext"):
        IncomingContent.announced_bytes(request_)
