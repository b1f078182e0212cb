"""Protocol 4's decoder: bytes in any pieces to messages, hostile bytes to errors, no copies."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.decoder4 import FrameDecoder
from protocol.errors import BadSegment, ProtocolError
from protocol.header import MessageHeader
from protocol.messages4 import (
    INTRODUCTIONS,
    REQUESTS,
    RESPONSES,
    Content,
    Done,
    Prove,
    Put,
    Request4,
    Response4,
    Segment,
    Stat,
    pack_message,
)
from tests.protocol import samples4, strategies4
from tests.protocol.samples4 import FULL, ID, ID_HEX, SALT, TAG, message_hex, replace

Message4 = Request4 | Response4
SMALL_BYTES = 16384
MEDIUM_BYTES = 131072
LARGE_BYTES = 11 + 1049600 + 16384
STAT = pack_message(Stat("a/b.txt"), 7)
FULL_SEGMENT = pack_message(Segment(ID, 3, False, FULL), 8)


def held(message: Message4) -> Message4:
    """The message with a copy of what it only views."""
    if isinstance(message, Segment | Put | Content):
        return replace(message, sealed=bytes(message.sealed))
    return message


def feed(decoder: FrameDecoder[Any], data: bytes) -> list[tuple[int, Message4]]:
    """Gives `data` as a socket would, as much at a time as there is room for."""
    found = []
    rest = data
    while rest:
        room = decoder.writable()
        assert len(room) > 0
        size = min(len(room), len(rest))
        room[:size] = rest[:size]
        rest = rest[size:]
        found += [(number, held(message)) for number, message in decoder.written(size)]
    return found


def decode(messages: Mapping[int, Any], pieces: Iterable[bytes]) -> list[tuple[int, Message4]]:
    decoder: FrameDecoder[Any] = FrameDecoder(messages)
    found = [item for piece in pieces for item in feed(decoder, piece)]
    assert decoder.between_messages
    return found


def failing(messages: Mapping[int, Any], data: str) -> tuple[FrameDecoder[Any], str]:
    decoder: FrameDecoder[Any] = FrameDecoder(messages)
    with pytest.raises(ProtocolError) as caught:
        feed(decoder, bytes.fromhex(data))
    return decoder, str(caught.value)


@pytest.mark.parametrize("code", sorted(REQUESTS))
def test_every_request_is_decoded(code: int) -> None:
    samples = [sample for sample in samples4.REQUESTS if sample[0] == code]
    stream = bytes.fromhex("".join(message_hex(code, payload) for _, _, payload in samples))
    expected = [(0x01020304, message) for _, message, _ in samples]
    assert decode(REQUESTS, [stream]) == expected


@pytest.mark.parametrize("code", sorted(RESPONSES))
def test_every_response_is_decoded(code: int) -> None:
    samples = [sample for sample in samples4.RESPONSES if sample[0] == code]
    stream = bytes.fromhex("".join(message_hex(code, payload) for _, _, payload in samples))
    expected = [(0x01020304, message) for _, message, _ in samples]
    assert decode(RESPONSES, [stream]) == expected


@strategies4.some
@given(st.lists(strategies4.requests, max_size=6), strategies4.cuts)
def test_any_split_gives_the_same_requests(messages: list[Request4], at: list[int]) -> None:
    stream = b"".join(pack_message(message, number) for number, message in enumerate(messages))
    assert decode(REQUESTS, strategies4.cut(stream, at)) == list(enumerate(messages))


@strategies4.some
@given(st.lists(strategies4.responses, max_size=6), strategies4.cuts)
def test_any_split_gives_the_same_responses(messages: list[Response4], at: list[int]) -> None:
    stream = b"".join(pack_message(message, number) for number, message in enumerate(messages))
    assert decode(RESPONSES, strategies4.cut(stream, at)) == list(enumerate(messages))


def test_byte_by_byte_gives_the_same_requests() -> None:
    samples = [message for _, message, _ in samples4.SMALL_REQUESTS]
    stream = b"".join(pack_message(message, number) for number, message in enumerate(samples))
    assert decode(REQUESTS, (stream[at : at + 1] for at in range(len(stream)))) == list(
        enumerate(samples)
    )


def test_several_small_messages_of_one_read_all_come_out() -> None:
    decoder = FrameDecoder(REQUESTS)
    room = decoder.writable()
    room[: 3 * len(STAT) + 5] = STAT * 3 + STAT[:5]
    found = list(decoder.written(3 * len(STAT) + 5))
    assert found == [(7, Stat("a/b.txt"))] * 3
    assert not decoder.between_messages
    assert feed(decoder, STAT[5:]) == [(7, Stat("a/b.txt"))]
    assert decoder.between_messages


def test_what_may_come_can_change_between_two_messages_of_one_read() -> None:
    decoder = FrameDecoder(INTRODUCTIONS)
    proof = pack_message(Prove(bytes(32)), 1)
    room = decoder.writable()
    room[: len(proof) + len(STAT)] = proof + STAT
    arriving = decoder.written(len(proof) + len(STAT))
    assert next(arriving) == (1, Prove(bytes(32)))
    decoder.expect(REQUESTS)
    assert list(arriving) == [(7, Stat("a/b.txt"))]


def test_what_may_not_come_is_refused_before_its_payload_takes_memory() -> None:
    for code in sorted(REQUESTS.keys() - INTRODUCTIONS.keys()):
        decoder = FrameDecoder(INTRODUCTIONS)
        with pytest.raises(ProtocolError, match="unknown message code"):
            feed(decoder, MessageHeader(code, 9, 60_000).pack())
        assert decoder.request_id == 9


def test_an_end_is_a_truncation_unless_between_messages() -> None:
    decoder = FrameDecoder(REQUESTS)
    assert decoder.between_messages
    for byte in STAT[:-1]:
        assert feed(decoder, bytes((byte,))) == []
        assert not decoder.between_messages
    assert len(feed(decoder, STAT[-1:])) == 1
    assert decoder.between_messages
    assert list(decoder.written(0)) == []
    assert decoder.between_messages


def test_sealed_content_is_a_view_of_where_it_was_received() -> None:
    decoder = FrameDecoder(REQUESTS)
    data = pack_message(Segment(ID, 0, True, b"\x09" + TAG), 1)
    room = decoder.writable()
    room[: len(data)] = data
    ((_, message),) = decoder.written(len(data))
    assert isinstance(message, Segment)
    room[len(data) - len(TAG) - 1] = 0x33
    assert message.sealed == b"\x33" + TAG


def test_views_last_until_the_next_writable_even_when_more_messages_are_held() -> None:
    decoder = FrameDecoder(REQUESTS)
    data = b"".join(
        pack_message(Segment(ID, 0, True, bytes((number,)) + TAG), number) for number in range(3)
    )
    room = decoder.writable()
    room[: len(data) + 5] = data + STAT[:5]
    sealed = [
        message.sealed
        for _, message in decoder.written(len(data) + 5)
        if isinstance(message, Segment)
    ]
    assert sealed == [bytes((number,)) + TAG for number in range(3)]


def test_an_idle_decoder_holds_sixteen_kibibytes() -> None:
    decoder = FrameDecoder(REQUESTS)
    assert len(decoder.writable()) == SMALL_BYTES
    feed(decoder, STAT * 5000)
    assert len(decoder.writable()) == SMALL_BYTES


@pytest.mark.parametrize(
    ("size", "room"),
    [
        (SMALL_BYTES - 11, SMALL_BYTES),
        (SMALL_BYTES - 10, MEDIUM_BYTES),
        (65536, MEDIUM_BYTES),
        (MEDIUM_BYTES - 11, MEDIUM_BYTES),
        (MEDIUM_BYTES - 10, LARGE_BYTES),
        (1048692, LARGE_BYTES),
    ],
)
def test_room_is_made_for_a_message_when_it_is_announced_and_given_back(
    size: int, room: int
) -> None:
    decoder = FrameDecoder(REQUESTS)
    big = Put(SALT, b"y" * 66, b"\x91" * (size - 100))
    data = pack_message(big, 5)
    assert len(data) == 11 + size
    assert feed(decoder, data[:10]) == []
    assert len(decoder.writable()) == SMALL_BYTES - 10
    assert feed(decoder, data[10:20]) == []
    assert len(decoder.writable()) == room - 20
    assert feed(decoder, data[20:]) == [(5, big)]
    assert len(decoder.writable()) == SMALL_BYTES


def test_the_largest_segments_follow_each_other_through_one_buffer() -> None:
    decoder = FrameDecoder(REQUESTS)
    found = feed(decoder, FULL_SEGMENT * 3 + STAT)
    assert found == [(8, Segment(ID, 3, False, FULL))] * 3 + [(7, Stat("a/b.txt"))]
    assert len(decoder.writable()) == SMALL_BYTES


def test_a_message_that_trickles_in_is_not_moved() -> None:
    decoder = FrameDecoder(REQUESTS)
    feed(decoder, FULL_SEGMENT[:20000])
    first = decoder.writable()
    first[:1000] = FULL_SEGMENT[20000:21000]
    assert list(decoder.written(1000)) == []
    second = decoder.writable()
    assert second.obj is first.obj
    assert len(second) == len(first) - 1000


@pytest.mark.parametrize(
    ("header", "why", "request_id"),
    [
        ("03" + "0100" + "04030201" + "07000000", "protocol version 3", 0),
        ("16" + "0301" + "04030201" + "07000000", "protocol version 22", 0),
        ("04" + "0000" + "04030201" + "00000000", "unknown message code 0", 0x01020304),
        ("04" + "0180" + "04030201" + "10000000", "unknown message code 32769", 0x01020304),
        ("04" + "0200" + "04030201" + "0f000000", "Connect of 15 bytes where 16", 0x01020304),
        ("04" + "0200" + "04030201" + "11000000", "Connect of 17 bytes where 16", 0x01020304),
        ("04" + "2100" + "04030201" + "01000100", "Stat of 65537 bytes", 0x01020304),
        ("04" + "1100" + "04030201" + "2a001000", "Segment of 1048618 bytes", 0x01020304),
        ("04" + "1300" + "04030201" + "01041000", "Put of 1049601 bytes", 0x01020304),
        ("04" + "1100" + "04030201" + "ffffffff", "Segment of 4294967295 bytes", 0x01020304),
    ],
)
def test_a_header_that_cannot_be_is_refused_before_its_payload_is_waited_for(
    header: str, why: str, request_id: int
) -> None:
    decoder, said = failing(REQUESTS, header)
    assert said.startswith(why)
    assert decoder.request_id == request_id


def test_a_client_takes_no_request_for_a_response() -> None:
    _, said = failing(RESPONSES, message_hex(2, ID_HEX))
    assert said == "unknown message code 2"


def test_the_request_id_is_that_of_the_message_that_failed() -> None:
    decoder = FrameDecoder(REQUESTS)
    assert decoder.request_id == 0
    data = STAT * 2 + bytes.fromhex(message_hex(33, "0100ff", "09000000"))
    decoder.writable()[: len(data)] = data
    with pytest.raises(ProtocolError, match="not UTF-8"):
        list(decoder.written(len(data)))
    assert decoder.request_id == 9


def test_messages_before_a_bad_one_are_handed_out() -> None:
    decoder = FrameDecoder(REQUESTS)
    data = STAT * 2 + b"\x03" * 11
    decoder.writable()[: len(data)] = data
    messages = decoder.written(len(data))
    assert [next(messages), next(messages)] == [(7, Stat("a/b.txt"))] * 2
    with pytest.raises(ProtocolError, match="version 3"):
        next(messages)
    assert decoder.request_id == 0


def test_a_bad_segment_is_told_apart() -> None:
    decoder = FrameDecoder(REQUESTS)
    with pytest.raises(BadSegment):
        feed(decoder, bytes.fromhex(message_hex(17, ID_HEX + "00" * 8 + "00" + "11" * 40)))


@pytest.mark.parametrize("data", [b"\x03" * 11, bytes.fromhex(message_hex(33, "0100ff"))])
def test_a_spent_decoder_stays_spent(data: bytes) -> None:
    decoder = FrameDecoder(REQUESTS)
    with pytest.raises(ProtocolError) as first:
        feed(decoder, data)
    with pytest.raises(ProtocolError) as second:
        list(decoder.written(0))
    assert str(second.value) == str(first.value)
    with pytest.raises(RuntimeError, match="iterate"):
        decoder.writable()


def test_messages_that_were_not_taken_are_not_overwritten() -> None:
    decoder = FrameDecoder(RESPONSES)
    done = pack_message(Done(), 1)
    decoder.writable()[: 2 * len(done)] = done * 2
    messages = decoder.written(2 * len(done))
    assert next(messages) == (1, Done())
    with pytest.raises(RuntimeError, match="iterate"):
        decoder.writable()
    assert list(messages) == [(1, Done())]
    assert len(decoder.writable()) == SMALL_BYTES


@strategies4.many
@given(st.binary(max_size=400), st.booleans(), strategies4.cuts)
def test_random_bytes_raise_nothing_else(noise: bytes, headed: bool, at: list[int]) -> None:
    for messages in (REQUESTS, RESPONSES):
        decoder: FrameDecoder[Any] = FrameDecoder(messages)
        stream = b"\x04" + noise if headed else noise
        try:
            for piece in strategies4.cut(stream, at):
                feed(decoder, piece)
        except ProtocolError:
            continue


@strategies4.many
@given(st.data())
def test_mutated_streams_raise_nothing_else(data: st.DataObject) -> None:
    samples = data.draw(st.lists(st.sampled_from(samples4.SMALL_REQUESTS), min_size=1, max_size=4))
    stream = bytearray(b"".join(pack_message(message, 1) for _, message, _ in samples))
    for place in data.draw(st.lists(st.integers(0, len(stream) - 1), max_size=4)):
        stream[place] = data.draw(st.integers(0, 255))
    decoder = FrameDecoder(REQUESTS)
    found: list[tuple[int, Message4]] = []
    try:
        for piece in strategies4.cut(bytes(stream), data.draw(strategies4.cuts)):
            found += feed(decoder, piece)
    except ProtocolError:
        pass
    packed = b"".join(pack_message(message, number) for number, message in found)
    assert stream.startswith(packed)


def test_a_decoded_message_holds_no_view_but_the_sealed_one() -> None:
    decoder = FrameDecoder(REQUESTS)
    data = bytearray.fromhex(
        "".join(message_hex(code, payload) for code, _, payload in samples4.SMALL_REQUESTS)
    )
    decoder.writable()[: len(data)] = data
    for _, message in decoder.written(len(data)):
        views = {name for name, value in vars(message).items() if isinstance(value, memoryview)}
        assert views <= {"sealed"}
