"""The client's side of protocol 3 against a server that sends what it likes.

An input's bytes choose what the client does, and answers: fitting ones, recorded ones, altered ones
and raw bytes, in any pieces, and the connection's end.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

from client.content import SealedContent
from client.errors import ClientError, ConnectionLost
from client.sealing import sealed_size
from client.session3 import GeneralErrors, Receipt, Session3
from protocol.cksum import Cksum
from protocol.decoder import RequestDecoder, RequestHead
from protocol.errors import ProtocolError
from protocol.generations import GENERATIONS, Generation
from protocol.messages3 import (
    FileReceived,
    GeneralError,
    KeyAccepted,
    MessageReceived,
    Reconnected,
    Registered,
    RegistrationFailed,
    ResendNoted,
    Response,
    SendFile,
    SendPacket,
)
from tests.fuzz import recorded, scratch
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must

_GENERATIONS = tuple(GENERATIONS.values())
_ID = bytes(range(16))
_PLAIN = b"Seventy-one bytes" * 4
_MOST_FILES = 16


@cache
def _source() -> Path:
    path = scratch.directory("client3") / "a"
    path.write_bytes(_PLAIN)
    return path


@cache
def _checksum() -> int:
    total = Cksum()
    total.update(memoryview(_PLAIN))
    return total.value


class _File:
    """A file to be sent."""

    name = "a"

    def open(self, session_key: bytes) -> SealedContent:
        return SealedContent(_source(), session_key)

    def progress(self, size: int) -> AbstractContextManager[Callable[[int], object]]:
        @contextmanager
        def told() -> Iterator[Callable[[int], object]]:
            yield lambda _size: None

        return told()


class _Server:
    """A channel whose other end is the input; checks that every request is a whole one."""

    def __init__(self, generation: Generation, choices: Choices) -> None:
        self._generation = generation
        self._choices = choices
        by_code = dict.fromkeys(generation.requests, generation)
        self._requests = RequestDecoder(by_code, 1 << 20)
        self._waiting = b""
        self.files = 0
        self.answers = 0

    def send(self, data: bytes | memoryview) -> None:
        if self._choices.byte() > 250:
            raise ConnectionLost("cut")
        for event in self._requests.feed(data):
            if isinstance(event, RequestHead) and isinstance(event.request, SendFile | SendPacket):
                self.files += 1
                must(self.files <= _MOST_FILES, "a client does not send without end")

    def receive(self) -> bytes:
        choices = self._choices
        if not self._waiting:
            if not choices.left:
                return b""
            self._waiting = self._answer()
        size = 1 + choices.byte() if choices.byte() > 200 else len(self._waiting)
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        return taken

    def _answer(self) -> bytes:
        choices = self._choices
        self.answers += 1
        kind = choices.byte()
        if kind > 245:
            return choices.some()
        if kind > 200:
            return choices.pick(recorded.messages("<")).data
        answer = self._response(choices)
        packed = bytearray(self._generation.pack_response(answer))
        if kind > 180:
            packed[choices.number(2) % len(packed)] = choices.byte()
        return bytes(packed)

    def _response(self, choices: Choices) -> Response:
        client_id = _ID if choices.byte() < 240 else bytes(16)
        checksum = _checksum() if choices.byte() < 160 else choices.number(4)
        size = sealed_size(len(_PLAIN)) if choices.byte() < 240 else choices.number(4)
        key = choices.exactly(16) + bytes(112)
        options: tuple[Response, ...] = (
            FileReceived(client_id, size, "a" if choices.byte() < 240 else "b", checksum),
            MessageReceived(client_id), GeneralError(), ResendNoted(), Registered(client_id),
            RegistrationFailed(), KeyAccepted(client_id, key), Reconnected(client_id, key),
        )  # fmt: skip
        return choices.pick(options)


def _run(data: bytes) -> None:
    choices = Choices(data)
    generation = choices.pick(_GENERATIONS)
    server = _Server(generation, choices)
    session = Session3(server, generation, GeneralErrors(lambda: None))
    key = bytes(generation.aes_key_bytes)
    deeds: tuple[Callable[[], object], ...] = (
        lambda: _send(session, server, key), lambda: session.register("alice"),
        lambda: session.send_public_key(_ID, "alice", bytes(160)),
        lambda: session.reconnect(_ID, "alice"),
    )  # fmt: skip
    try:
        session.reconnect(_ID, "alice")
        for _ in range(6):
            if not choices.left:
                return
            choices.pick(deeds)()
    except ClientError as error:
        must("\n" not in str(error), "an error is one line")
    except ProtocolError as error:
        must(False, f"what a client sends is protocol 3: {error}")


def _send(session: Session3, server: _Server, key: bytes) -> None:
    before = server.answers
    receipt = session.send_file(_File(), key)
    must(receipt == Receipt(len(_PLAIN), _checksum()), "a receipt is for what was sent")
    must(server.answers > before, "a file that nobody has answered is not sent")


def _seeds() -> Iterable[bytes]:
    for generation in range(len(_GENERATIONS)):
        start = bytes((generation, 0))
        for kind in range(8):
            yield start + (bytes((0, 0, 0, 0)) + bytes(17) + bytes((kind, 0, 0))) * 3
        reconnected = bytes((0, 0, 0, 0, *bytes(16), 0, 7, 0))
        received = bytes((0, 0, 0, 0, *bytes(16), 0, 0, 0))
        wrong = bytes((0, 0, 200, 1, 2, 3, 4, 0, *bytes(16), 0, 0, 0))
        confirmed = bytes((0, 0, 0, 0, *bytes(16), 0, 1, 0))
        failed = bytes((0, 0, 0, 0, *bytes(16), 0, 2, 0))
        for answers in (
            (received, confirmed), (wrong, received, confirmed), (failed, received, confirmed),
            (wrong, wrong, wrong, wrong, confirmed), (failed, failed, failed, failed),
        ):  # fmt: skip
            yield start + reconnected + b"\0" + b"\0\0".join(answers) + bytes(8)
            yield start + reconnected + b"\0\0" + b"\0\0".join(answers) + bytes(8)
            yield start + reconnected + b"\0\0\0" + b"\0".join(answers) + bytes(8)


TARGET = Target(
    "client_session3", "client/session3.py, content.py, sealing.py", _run, _seeds, max_bytes=512
)
