"""Decoders, what they are fed, and what is to come out."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st

from protocol.decoder import RequestDecoder, RequestEnd, RequestHead, ResponseDecoder
from protocol.errors import ProtocolError
from protocol.generations import (
    GENERATION_2023A,
    GENERATION_2024A,
    GENERATION_2024C,
    GENERATIONS,
    Generation,
    generations_by_code,
)
from protocol.messages3 import (
    ChecksumAbandoned,
    ChecksumInvalid,
    ChecksumValid,
    Reconnect,
    Register,
    Request,
    Response,
    SendFile,
    SendPacket,
    SendPublicKey,
)
from tests.protocol import samples, strategies
from tests.protocol.samples import CLIENT_ID
from tests.protocol.specification import (
    CARRY_CONTENT,
    CODE_HEX,
    COLUMNS,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    Column,
)

MAX_CONTENT = 1000
SERVED = (GENERATION_2023A, GENERATION_2024A, GENERATION_2024C)
Event = RequestHead | RequestEnd | bytes

every_request_code = pytest.mark.parametrize(
    ("column", "code"),
    [(column, code) for column in COLUMNS for code in column.requests],
    ids=str,
)
every_response_code = pytest.mark.parametrize(
    ("column", "code"),
    [(column, code) for column in COLUMNS for code in column.responses],
    ids=str,
)


def request_decoder(
    generation_1025: Generation = GENERATION_2024A, max_content_bytes: int = MAX_CONTENT
) -> RequestDecoder:
    return RequestDecoder(generations_by_code(generation_1025), max_content_bytes)


def decoder_of(column: Column) -> RequestDecoder:
    return RequestDecoder(
        dict.fromkeys(column.requests, GENERATIONS[column.name]), max_content_bytes=MAX_CONTENT
    )


def request_header(code: int, size: int) -> bytes:
    return CLIENT_ID + b"\x03" + bytes.fromhex(CODE_HEX[code]) + size.to_bytes(4, "little")


def response_header(code: int, size: int) -> bytes:
    return b"\x03" + bytes.fromhex(CODE_HEX[code]) + size.to_bytes(4, "little")


def collect(decoder: RequestDecoder, pieces: Iterable[bytes], result: list[Event]) -> None:
    """Adds what the pieces give; the content between a head and its end is one bytes object."""
    for piece in pieces:
        for event in decoder.feed(piece):
            if not isinstance(event, memoryview):
                result.append(event)
            elif result and isinstance(result[-1], bytes):
                result[-1] += bytes(event)
            else:
                result.append(bytes(event))


def events(decoder: RequestDecoder, pieces: Iterable[bytes]) -> list[Event]:
    result: list[Event] = []
    collect(decoder, pieces, result)
    return result


def outcome(pieces: Iterable[bytes]) -> tuple[list[Event], str | None]:
    """What the pieces give and what is wrong with them; any error but `ProtocolError` is raised."""
    result: list[Event] = []
    try:
        collect(request_decoder(), pieces, result)
    except ProtocolError as error:
        return result, str(error)
    return result, None


def answers(decoder: ResponseDecoder, pieces: Iterable[bytes]) -> list[Response]:
    return [response for piece in pieces for response in decoder.feed(piece)]


def answers_or_error(pieces: Iterable[bytes]) -> list[Response]:
    """What the pieces give unless they are wrong; any error but `ProtocolError` is raised."""
    try:
        return answers(ResponseDecoder(GENERATION_2023A), pieces)
    except ProtocolError:
        return []


def mutations(data: bytes) -> Iterator[bytes]:
    """`data` with some bytes changed, dropped or put in between."""
    chance = random.Random(1)
    for _ in range(300):
        mutated = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(mutated))
            match chance.randrange(3):
                case 0:
                    mutated[place] ^= 1 << chance.randrange(8)
                case 1:
                    del mutated[place]
                case _:
                    mutated.insert(place, chance.randrange(256))
        yield bytes(mutated)


def impossible_requests() -> Iterator[tuple[Column, int, int]]:
    for column in COLUMNS:
        for code, message in column.requests.items():
            fixed = REQUEST_BYTES[message]
            for size in {0, 1, fixed - 1, fixed + 1, 2**32 - 1}:
                if size != fixed + 1 or message not in CARRY_CONTENT:
                    yield column, code, size


def impossible_responses() -> Iterator[tuple[Column, int, int]]:
    for column in COLUMNS:
        for code, message in column.responses.items():
            least, most = RESPONSE_BYTES[message]
            for size in {0, 1, least - 1, most + 1, 2**32 - 1}:
                if size >= 0 and not least <= size <= most:
                    yield column, code, size


@dataclass(frozen=True)
class Sent:
    """One request as it is sent, and what a decoder should make of it."""

    head: RequestHead
    content: bytes

    def __str__(self) -> str:
        return type(self.head.request).__name__

    @property
    def wire(self) -> bytes:
        head = self.head
        packed = head.generation.pack_request(head.client_id, head.request, head.content_bytes)
        return packed + self.content

    @property
    def events(self) -> list[Event]:
        return [self.head, *([self.content] if self.content else []), RequestEnd()]


def sent(
    generation: Generation, request: Request, content: bytes = b"", client_id: bytes = CLIENT_ID
) -> Sent:
    return Sent(RequestHead(client_id, generation, request, len(content)), content)


@st.composite
def sent_requests(draw: st.DrawFn) -> Sent:
    generation = draw(st.sampled_from(SERVED))
    client_id = draw(strategies.client_ids)
    content = draw(st.binary(max_size=100))
    file: st.SearchStrategy[Request] = (
        strategies.packet_requests
        if generation.in_packets
        else st.builds(SendFile, st.just(len(content)), strategies.names)
    )
    request = draw(st.one_of(strategies.name_requests, strategies.key_requests, file))
    carried = content if isinstance(request, CARRY_CONTENT) else b""
    return sent(generation, request, carried, client_id)


streams = st.lists(sent_requests(), max_size=4)

CONVERSATION = [
    sent(GENERATION_2023A, Register("Alice")),
    sent(GENERATION_2023A, SendPublicKey("Alice", b"k" * 160)),
    sent(GENERATION_2023A, SendFile(48, "a.txt"), bytes(range(48))),
    sent(GENERATION_2023A, ChecksumInvalid("a.txt")),
    sent(GENERATION_2023A, SendFile(0, "empty")),
    sent(GENERATION_2024C, SendPacket(5, 4, 1, 2, "b.txt"), b"one"),
    sent(GENERATION_2024C, SendPacket(5, 4, 2, 2, "b.txt"), b"2"),
    sent(GENERATION_2024A, SendPacket(5, 4, 1, 1, "c.txt")),
    sent(GENERATION_2024A, Reconnect("Alice")),
    sent(GENERATION_2024C, ChecksumValid("a.txt")),
    sent(GENERATION_2024A, ChecksumAbandoned("a.txt")),
]
CONVERSATION_WIRE = b"".join(one.wire for one in CONVERSATION)
CONVERSATION_EVENTS = [event for one in CONVERSATION for event in one.events]
ANSWERS = [response for response, _ in samples.RESPONSES]
ANSWERS_WIRE = b"".join(map(GENERATION_2023A.pack_response, ANSWERS))

every_wrong_request = pytest.mark.parametrize(
    "wire",
    [
        request_header(1100, 256),
        request_header(2100, 255),
        CLIENT_ID + bytes.fromhex("04" + "4c04" + "ff000000"),
        GENERATION_2023A.pack_request(CLIENT_ID, SendFile(1, "a"), 2),
    ],
    ids=["size", "code", "version", "content size"],
)
every_wrong_response = pytest.mark.parametrize(
    "wire",
    [response_header(2100, 15), response_header(1600, 16), b"\x04" + bytes(6)],
    ids=["size", "code", "version"],
)
