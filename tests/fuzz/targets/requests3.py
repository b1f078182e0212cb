"""Protocol 3, bytes to requests."""

from collections.abc import Iterable, Sequence

from protocol.decoder import RequestDecoder, RequestEnd, RequestHead
from protocol.errors import ProtocolError
from protocol.generations import GENERATION_2023B, GENERATION_2024A, generations_by_code
from protocol.header import RequestHeader
from tests.fuzz import recorded
from tests.fuzz.choices import Choices, uncut
from tests.fuzz.target import Target, must

_LIMIT = 1 << 20
_MOST_HELD = 1024
_TABLES = (generations_by_code(GENERATION_2024A), generations_by_code(GENERATION_2023B))


def _decoded(table: int, pieces: Sequence[bytes]) -> list[object]:
    """Every event, with the content between two of them in one piece."""
    decoder = RequestDecoder(_TABLES[table], _LIMIT)
    events: list[object] = []
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                if not isinstance(event, memoryview):
                    events.append(event)
                elif events and isinstance(events[-1], bytes):
                    events[-1] += bytes(event)
                else:
                    events.append(bytes(event))
            must(len(decoder._gathering._data) < _MOST_HELD, "no more than a fixed part is held")
    except ProtocolError as error:
        return [*events, type(error), str(error)]
    return [*events, decoder.between_requests, decoder.content_left]


def _check(table: int, events: Sequence[object]) -> None:
    left = 0
    for event in events:
        if isinstance(event, RequestHead):
            must(event.content_bytes <= _LIMIT, "content stays within its limit")
            left = event.content_bytes
            packed = event.generation.pack_request(event.client_id, event.request, left)
            again = _decoded(table, [packed])
            must(again[0] == event, "a request that is packed decodes to itself")
        elif isinstance(event, bytes):
            left -= len(event)
        elif isinstance(event, RequestEnd):
            must(left == 0, "a request ends behind the last byte of its content")
    must(left >= 0, "no more content comes than was announced")


def _run(data: bytes) -> None:
    choices = Choices(data)
    table = choices.byte() % 2
    pieces, whole = choices.pieces()
    events = _decoded(table, [whole])
    must(events == _decoded(table, pieces), "any pieces of a stream give the same requests")
    _check(table, events)


def _seeds() -> Iterable[bytes]:
    for stream in recorded.streams(">"):
        yield b"\0" + uncut(stream)
        yield b"\1\2\x17\0\x18\1" + stream
    yield b"\0" + uncut(RequestHeader(bytes(16), 1103, 2**32 - 1).pack())


TARGET = Target("requests3", "protocol/decoder.py, messages3.py", _run, _seeds)
