"""The codec against the recorded sessions of tests/vectors."""

from collections.abc import Callable

import pytest

from protocol.decoder import RequestDecoder, RequestEnd, RequestHead, ResponseDecoder
from protocol.generations import GENERATION_2024A, GENERATIONS, Generation, generations_by_code
from protocol.messages3 import (
    ChecksumAbandoned,
    ChecksumInvalid,
    ChecksumValid,
    FileReceived,
    GeneralError,
    KeyAccepted,
    MessageReceived,
    Reconnect,
    Reconnected,
    ReconnectRefused,
    Register,
    Registered,
    RegistrationFailed,
    Request,
    ResendNoted,
    Response,
    SendFile,
    SendPacket,
    SendPublicKey,
)
from tests.protocol.specification import COLUMNS
from tests.vectors.load import Message, Session, load_all

SESSIONS = list(load_all())
COLUMN = {column.name: column for column in COLUMNS}
CODES_WITHOUT_PAYLOAD = (1601, 1607, 1608, 2101, 2107)
MAX_CONTENT = 10_000

every_session = pytest.mark.parametrize(
    "session", SESSIONS, ids=[session.path.stem for session in SESSIONS]
)


def name_of(message: Message, field: str) -> str:
    return message.field(field).data.split(b"\0")[0].decode()


def number_of(message: Message, field: str) -> int:
    return message.field(field).number


def id_of(message: Message) -> bytes:
    return message.field("client id").data


def send_packet(message: Message) -> SendPacket:
    return SendPacket(
        number_of(message, "content size"),
        number_of(message, "original size"),
        number_of(message, "packet number"),
        number_of(message, "total packets"),
        name_of(message, "file name"),
    )


def file_received(message: Message) -> FileReceived:
    return FileReceived(
        id_of(message),
        number_of(message, "content size"),
        name_of(message, "file name"),
        number_of(message, "checksum"),
    )


REQUEST_OF: dict[type[Request], Callable[[Message], Request]] = {
    Register: lambda message: Register(name_of(message, "name")),
    Reconnect: lambda message: Reconnect(name_of(message, "name")),
    SendPublicKey: lambda message: SendPublicKey(
        name_of(message, "name"), message.field("public key").data
    ),
    SendFile: lambda message: SendFile(
        number_of(message, "content size"), name_of(message, "file name")
    ),
    SendPacket: send_packet,
    ChecksumValid: lambda message: ChecksumValid(name_of(message, "file name")),
    ChecksumInvalid: lambda message: ChecksumInvalid(name_of(message, "file name")),
    ChecksumAbandoned: lambda message: ChecksumAbandoned(name_of(message, "file name")),
}
RESPONSE_OF: dict[type[Response], Callable[[Message], Response]] = {
    Registered: lambda message: Registered(id_of(message)),
    RegistrationFailed: lambda _: RegistrationFailed(),
    KeyAccepted: lambda message: KeyAccepted(
        id_of(message), message.field("encrypted AES key").data
    ),
    FileReceived: file_received,
    MessageReceived: lambda message: MessageReceived(id_of(message)),
    Reconnected: lambda message: Reconnected(
        id_of(message), message.field("encrypted AES key").data
    ),
    ReconnectRefused: lambda message: ReconnectRefused(id_of(message)),
    GeneralError: lambda _: GeneralError(),
    ResendNoted: lambda _: ResendNoted(),
}


def expected_request(session: Session, message: Message) -> tuple[RequestHead, bytes]:
    content = message.field("content").data if message.has("content") else b""
    request = REQUEST_OF[COLUMN[session.generation].requests[message.code]](message)
    generation = GENERATIONS[session.generation]
    return RequestHead(id_of(message), generation, request, len(content)), content


def expected_response(session: Session, message: Message) -> Response:
    return RESPONSE_OF[COLUMN[session.generation].responses[message.code]](message)


def is_exact(message: Message) -> bool:
    """Whether nothing in the message is to be ignored, so that packing gives the same bytes."""
    if message.direction == "<" and message.code in CODES_WITHOUT_PAYLOAD:
        return not message.payload
    after_nul = [field.data.partition(b"\0")[2] for field in message.fields if "name" in field.name]
    return not any(rest.strip(b"\0") for rest in after_nul)


def by_code(generation: Generation) -> RequestDecoder:
    shared = generation if 1025 in generation.requests else GENERATION_2024A
    return RequestDecoder(generations_by_code(shared), MAX_CONTENT)


def decoded(decoder: RequestDecoder, pieces: list[bytes]) -> list[tuple[RequestHead, bytes]]:
    """Each request that the pieces complete, with its content."""
    complete: list[tuple[RequestHead, bytes]] = []
    head, content = None, b""
    for piece in pieces:
        for event in decoder.feed(piece):
            match event:
                case RequestHead():
                    head, content = event, b""
                case RequestEnd():
                    assert head is not None
                    complete.append((head, content))
                case _:
                    content += bytes(event)
    return complete


def split(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@every_session
def test_every_request_decodes_to_what_its_fields_say(session: Session) -> None:
    decoder = by_code(GENERATIONS[session.generation])
    for message in session.sent(">"):
        assert decoded(decoder, [message.data]) == [expected_request(session, message)]


@every_session
def test_every_response_decodes_to_what_its_fields_say(session: Session) -> None:
    decoder = ResponseDecoder(GENERATIONS[session.generation])
    for message in session.sent("<"):
        assert list(decoder.feed(message.data)) == [expected_response(session, message)]


@every_session
def test_every_request_packs_to_the_same_bytes(session: Session) -> None:
    generation = GENERATIONS[session.generation]
    for message in filter(is_exact, session.sent(">")):
        head, content = expected_request(session, message)
        packed = generation.pack_request(head.client_id, head.request, len(content))
        assert (packed + content).hex() == message.data.hex()


@every_session
def test_every_response_packs_to_the_same_bytes(session: Session) -> None:
    generation = GENERATIONS[session.generation]
    for message in filter(is_exact, session.sent("<")):
        packed = generation.pack_response(expected_response(session, message))
        assert packed.hex() == message.data.hex()


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
@every_session
def test_all_requests_are_found_in_the_stream(session: Session, size: int) -> None:
    stream = b"".join(message.data for message in session.sent(">"))
    expected = [expected_request(session, message) for message in session.sent(">")]
    decoder = by_code(GENERATIONS[session.generation])
    assert decoded(decoder, split(stream, size)) == expected


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
@every_session
def test_all_responses_are_found_in_the_stream(session: Session, size: int) -> None:
    stream = b"".join(message.data for message in session.sent("<"))
    decoder = ResponseDecoder(GENERATIONS[session.generation])
    found = [response for piece in split(stream, size) for response in decoder.feed(piece)]
    assert found == [expected_response(session, message) for message in session.sent("<")]


@every_session
def test_both_streams_end_between_messages(session: Session) -> None:
    requests = by_code(GENERATIONS[session.generation])
    responses = ResponseDecoder(GENERATIONS[session.generation])
    decoded(requests, [message.data for message in session.sent(">")])
    list(responses.feed(b"".join(message.data for message in session.sent("<"))))
    assert (requests.between_requests, responses.between_responses) == (True, True)


def test_the_sessions_hold_every_code() -> None:
    codes = {
        (session.generation, message.code) for session in SESSIONS for message in session.messages
    }
    assert codes >= {
        (column.name, code) for column in COLUMNS for code in [*column.requests, *column.responses]
    }


@pytest.mark.parametrize("direction", [">", "<"])
def test_most_messages_are_packed_and_some_only_decoded(direction: str) -> None:
    exact = [
        is_exact(message)
        for session in SESSIONS
        for message in session.messages
        if message.direction == direction
    ]
    assert exact.count(True) > exact.count(False) > 0
