"""Protocol 4, bytes to messages, in both directions."""

from collections.abc import Iterable, Mapping, Sequence

from protocol.decoder4 import FrameDecoder
from protocol.errors import ProtocolError
from protocol.header import MAX_PAYLOAD_BYTES, MESSAGE_HEADER_BYTES, MessageHeader
from protocol.messages4 import (
    DATA_REQUESTS,
    DATA_RESPONSES,
    REQUESTS,
    RESPONSES,
    pack_message,
)
from protocol.records import Record
from tests.fuzz.choices import Choices, uncut
from tests.fuzz.drawing import Material, frame, payload
from tests.fuzz.target import Target, must

_TABLES: tuple[Mapping[int, type[Record]], ...] = (
    REQUESTS, RESPONSES, DATA_REQUESTS, DATA_RESPONSES,
)  # fmt: skip
_IDLE_BYTES = 16_384
_MOST_BYTES = MESSAGE_HEADER_BYTES + MAX_PAYLOAD_BYTES + 16_384


def _decoded(table: Mapping[int, type[Record]], pieces: Sequence[bytes]) -> list[object]:
    """Every message in its packed form, which must be what was decoded; then how it ended."""
    decoder: FrameDecoder[Record] = FrameDecoder(table)
    results: list[object] = []
    try:
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                space = decoder.writable()
                if decoder.between_messages:
                    must(len(space) == _IDLE_BYTES, "an idle decoder holds 16 KiB")
                must(len(space) <= _MOST_BYTES, "no decoder holds more than a message")
                taken, rest = rest[: len(space)], rest[len(space) :]
                space[: len(taken)] = taken
                for request_id, message in decoder.written(len(taken)):
                    results.append(pack_message(message, request_id))  # type: ignore[arg-type] # from the table
    except ProtocolError as error:
        return [*results, type(error), str(error), decoder.request_id]
    return [*results, decoder.between_messages]


def _run(data: bytes) -> None:
    choices = Choices(data)
    table = choices.pick(_TABLES)
    pieces, whole = choices.pieces()
    results = _decoded(table, [whole])
    must(results == _decoded(table, pieces), "any pieces of a stream give the same messages")
    packed = b"".join(item for item in results if isinstance(item, bytes))
    must(whole.startswith(packed), "what is decoded packs to the bytes that it came from")
    if results[-1] is True:
        must(whole == packed, "nothing is passed over between messages")


def _seeds() -> Iterable[bytes]:
    for number, table in enumerate(_TABLES):
        for code, kind in table.items():
            for fill in (0, 1, 40):
                content = payload(kind, Choices(bytes((fill,)) * 900), Material())
                stream = frame(code, 7, content)
                yield bytes((number,)) + uncut(stream)
                yield bytes((number, 2, 5, 0, 15, 0)) + stream + stream
        longest = MessageHeader(17, 1, MAX_PAYLOAD_BYTES).pack()
        yield bytes((number,)) + uncut(longest + bytes(50))


TARGET = Target("frames4", "protocol/decoder4.py, messages4.py", _run, _seeds)
