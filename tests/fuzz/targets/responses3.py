"""Protocol 3, bytes to responses, in each generation."""

from collections.abc import Iterable, Sequence

from protocol.decoder import ResponseDecoder
from protocol.errors import ProtocolError
from protocol.generations import GENERATIONS
from protocol.header import CLIENT_ID_BYTES, ResponseHeader
from protocol.messages3 import MAX_WRAPPED_KEY_BYTES
from tests.fuzz import recorded
from tests.fuzz.choices import Choices, uncut
from tests.fuzz.target import Target, must

_GENERATIONS = tuple(GENERATIONS.values())
_MOST_HELD = CLIENT_ID_BYTES + MAX_WRAPPED_KEY_BYTES


def _decoded(generation: int, pieces: Sequence[bytes]) -> list[object]:
    decoder = ResponseDecoder(_GENERATIONS[generation])
    answers: list[object] = []
    try:
        for piece in pieces:
            answers.extend(decoder.feed(piece))
            must(len(decoder._gathering._data) <= _MOST_HELD, "no more than one answer is held")
    except ProtocolError as error:
        # What was decoded in the same piece before the error is lost with the connection.
        return [type(error), str(error)]
    return [*answers, decoder.between_responses]


def _run(data: bytes) -> None:
    choices = Choices(data)
    number = choices.byte() % len(_GENERATIONS)
    pieces, whole = choices.pieces()
    answers = _decoded(number, [whole])
    must(answers == _decoded(number, pieces), "any pieces of a stream give the same answers")
    if answers and isinstance(answers[-1], bool):
        generation = _GENERATIONS[number]
        packed = b"".join(generation.pack_response(one) for one in answers[:-1])  # type: ignore[arg-type] # all but the last are responses
        must(_decoded(number, [packed])[:-1] == answers[:-1], "an answer decodes to itself")


def _seeds() -> Iterable[bytes]:
    for session in recorded.sessions():
        number = list(GENERATIONS).index(session.generation)
        stream = b"".join(message.data for message in session.sent("<"))
        yield bytes((number,)) + uncut(stream)
    yield b"\0" + uncut(ResponseHeader(2102, 2**32 - 1).pack())


TARGET = Target("responses3", "protocol/decoder.py, messages3.py", _run, _seeds)
