"""The server's side of protocol 4: conversations drawn from the tables of messages.

An input's bytes choose messages that fit what went before, altered ones, raw bytes, pieces, pauses
(`deferred`), connections that end, and a second connection of the same client at the same time.
"""

import hashlib
from collections.abc import Iterable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocol.decoder4 import FrameDecoder
from protocol.header import MAX_PAYLOAD_BYTES
from protocol.merkle import root_from
from protocol.messages4 import (
    CODES,
    DATA_RESPONSES,
    REQUESTS,
    RESPONSES,
    Abandon,
    Attach,
    Begin,
    Begun,
    Connect,
    Content,
    Done,
    End,
    Get,
    List,
    Prove,
    Put,
    Remove,
    Rename,
    Response4,
    Segment,
    Stored,
    Ticket,
)
from protocol.receipts import ReceiptBody, signed_bytes
from protocol.records import Record
from server.datasession import DataSession
from server.openuploads import DataLink
from server.session4 import Services4, Session4
from tests.fuzz import serverside
from tests.fuzz.choices import Choices
from tests.fuzz.drawing import frame, payload
from tests.fuzz.talk4 import Uploading
from tests.fuzz.target import Target, must

_CODES = tuple(REQUESTS)
_MOST_MESSAGES = 40
_LONG_BYTES = 8192
_ANY = range(1 << 32)


class _Wire:
    """One connection: what goes in, and the well-formed answers that come out."""

    def __init__(self, services: Services4, material: Uploading) -> None:
        self._material = material
        self._session = Session4(services, serverside.ADDRESS, serverside.FINGERPRINT)
        self._answers: FrameDecoder[Response4] = FrameDecoder(RESPONSES)
        self._receipt_key = Ed25519PublicKey.from_public_bytes(services.receipt_key.public)
        self.step = 0
        self.ids: set[int] | range = {0, 1, 2}

    def note(self, request_id: int) -> None:
        """A request with this id is about to be sent."""
        if isinstance(self.ids, set):
            self.ids.add(request_id)

    @property
    def ended(self) -> bool:
        return self._session.ended

    def feed(self, data: bytes) -> None:
        """Hands over bytes until the session ends, as the server's connection does."""
        rest = memoryview(data)
        step = (self.step or len(data)) if len(data) < _LONG_BYTES else len(data) // 3
        while rest and not self._session.ended:
            space = self._session.writable()
            must(0 < len(space) <= MAX_PAYLOAD_BYTES + 20_000, "a session holds one message")
            taken = rest[: min(len(space), step)]
            rest = rest[len(taken) :]
            space[: len(taken)] = taken
            self._take(self._session.written(len(taken)))

    def pause(self) -> None:
        """Nothing is at hand for now."""
        if not self._session.ended:
            self._take(self._session.deferred())
            must(not self._session.has_deferred, "no answer waits for longer than a pause")

    def close(self) -> None:
        """Ends the connection."""
        self._session.close()
        must(self._answers.between_messages, "every answer is a whole one")

    def _take(self, answers: Iterable[bytes | memoryview]) -> None:
        for answer in answers:
            rest = memoryview(answer)
            while rest:
                space = self._answers.writable()
                taken, rest = rest[: len(space)], rest[len(space) :]
                space[: len(taken)] = taken
                for request_id, message in self._answers.written(len(taken)):
                    self._judge(request_id, message)

    def _judge(self, request_id: int, message: Response4) -> None:
        must(request_id in self.ids, "an answer carries the id of a request, or 0")
        match message:
            case Ticket(ticket):
                self._material.ticket = ticket
            case Begun(offset):
                self._material.begun(offset)
            case Stored():
                root = root_from(message.body, message.index, message.count, message.path)
                self._receipt_key.verify(message.signature, signed_bytes(message.count, root))
                body = ReceiptBody.unpack(message.body)
                must(body.client_id == serverside.CLIENT_ID, "a receipt is for this client")


class _Data:
    """The data connection of one of them."""

    def __init__(self, services: Services4, ticket: bytes) -> None:
        self.ended = True
        self._answers: FrameDecoder[Content | Done] = FrameDecoder(DATA_RESPONSES)
        uploads = services.tickets.redeem(ticket)
        if uploads is not None:
            self.ended = False
            link = DataLink(self._receive, self.close, self.close)
            self._session = DataSession(uploads, link, serverside.ADDRESS)
            self.ended = self._session.ended

    def feed(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest and not self.ended:
            space = self._session.writable()
            taken, rest = rest[: len(space)], rest[len(space) :]
            space[: len(taken)] = taken
            must(not list(self._session.written(len(taken))), "segments are not answered here")
            if self._session.ended:
                self.close()

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            self._session.close()

    def _receive(self, parts: Iterable[bytes | memoryview]) -> None:
        if self.ended and parts:
            raise BrokenPipeError
        for part in parts:
            rest = memoryview(part)
            while rest:
                space = self._answers.writable()
                taken, rest = rest[: len(space)], rest[len(space) :]
                space[: len(taken)] = taken
                for _ in self._answers.written(len(taken)):
                    pass  # a whole message, in form


class _Conversation:
    """Two connections of one client, of which one speaks at a time."""

    def __init__(self, services: Services4, choices: Choices) -> None:
        self._services = services
        self._choices = choices
        self._material = Uploading()
        self._wires = [_Wire(services, self._material), _Wire(services, self._material)]
        self._now = 0
        self._data: _Data | None = None
        self.sent = bytearray()

    def run(self, *, introduced: bool) -> None:
        if introduced:
            self._introduce()
        for _ in range(_MOST_MESSAGES):
            if not self._choices.left:
                break
            self._step()
        for wire in self._wires:
            wire.pause()
            wire.close()

    def _step(self) -> None:
        choices = self._choices
        match choices.byte() % 16:
            case 7:
                self._feed_data(choices)
            case 8 | 9:
                self._feed_unknown(self._altered(self._message()))
            case 10:
                self._feed_unknown(choices.some())
            case 11:
                self._wires[self._now].pause()
            case 12:
                self._renew()
            case 13:
                self._now = 1 - self._now
                self._introduce()
            case 14:
                self._wires[self._now].step = choices.byte() * 3
            case _:
                self._feed(self._message())

    def _feed_data(self, choices: Choices) -> None:
        """A segment on the data connection, which is opened first where there is none."""
        if self._data is None or self._data.ended:
            self._feed(frame(CODES[Attach], 2, b""))
            self._data = _Data(self._services, self._material.ticket)
        kind = choices.byte()
        message = self._message(CODES[Segment])
        self._data.feed(self._altered(message) if kind > 220 else message)

    def _message(self, code: int | None = None) -> bytes:
        code = self._choices.pick(_CODES) if code is None else code
        self._material.begin(REQUESTS[code])
        content = payload(REQUESTS[code], self._choices, self._material)
        request_id = self._choices.byte()
        self._wires[self._now].note(request_id)
        return frame(code, request_id, content)

    def _altered(self, message: bytes) -> bytes:
        altered = bytearray(message)
        altered[self._choices.number(2) % len(altered)] = self._choices.byte()
        return bytes(altered)

    def _introduce(self) -> None:
        self._feed(frame(CODES[Connect], 1, serverside.CLIENT_ID))
        self._feed(frame(CODES[Prove], 2, serverside.PROOF))

    def _renew(self) -> None:
        self._wires[self._now].close()
        self._wires[self._now] = _Wire(self._services, self._material)
        self._introduce()

    def _feed_unknown(self, data: bytes) -> None:
        self._wires[self._now].ids = _ANY
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        self.sent += data
        wire = self._wires[self._now]
        wire.feed(data)
        if wire.ended:
            wire.close()
            self._wires[self._now] = _Wire(self._services, self._material)


def _check_kept(services: Services4, sent: bytes) -> None:
    repository, uploads = services.repository, services.uploads
    visible = list(repository.files(serverside.CLIENT_ID))
    for file in visible:
        content = serverside.content(file)
        must(len(content) == file.size, "a visible file is whole")
        digest = hashlib.sha256(content).digest()
        must(file.sha256 == digest, "a visible file is what its digest says")
        must(digest in sent, "a visible file is what a client said that it read")
    must(len(visible) <= services.config.max_files_per_client, "limits hold")
    pending = {row.object_id.hex() for row in repository.pending_uploads()}
    must(serverside.staged() <= pending, "nothing is staged that cannot be resumed")
    known = {file.object_id for file in visible}
    known |= {row.object_id for row in repository.pending_uploads()}
    known |= {object_id for _, object_id in repository.superseded()}
    objects = set(serverside.storage().object_ids(serverside.CLIENT_ID))
    must(objects <= known, "no object is on the disk that nobody knows")
    must(not uploads._attempts, "no attempt outlives its connection")
    held = services.receiver.quota._reservations
    must(held == set(uploads._kept.values()), "only what may be resumed keeps its room")


def _run(data: bytes) -> None:
    choices = Choices(data)
    with serverside.services4() as services:
        conversation = _Conversation(services, choices)
        conversation.run(introduced=bool(choices.byte()))
        _check_kept(services, bytes(conversation.sent))


def _seeds() -> Iterable[bytes]:
    for number in range(len(_CODES)):
        for fill in (0, 1, 9):
            one = bytes((0, number)) + bytes((fill,)) * 12
            yield b"\1" + one
            yield b"\0" + one
            yield b"\1" + one + b"\x0b" + one
    for steps in _uploads():
        yield b"\1" + b"".join(steps)
        yield b"\1\x0e\x07" + b"".join(steps)
        yield b"\1" + b"\x0d".join(steps)
        yield b"\1" + b"\x0b".join(steps)


def _uploads() -> Iterable[tuple[bytes, ...]]:
    """Steps that store files, resume and replace them, and fetch them back."""
    begin, segment, end, put, get = (_step(kind) for kind in (Begin, Segment, End, Put, Get))
    upload = begin + bytes((0, 0, 12, 3, 0xA0, 1, 2, 0, 7))
    final = segment + bytes((0, 0, 0, 2, 0, 8))
    full = segment + bytes((0, 0, 250, 0, 0, 9))
    spoilt = segment + bytes((0, 0, 0, 2, 255, 9, *range(40)))
    finish = end + bytes((0, 0, 0, 10))
    small = put + bytes((1, 0, 2, 0, 0, 9, 2, 1, 0, 3))  # salt; one file; how it is sealed; id
    three = put + bytes((1, 2, *(2, 0, 0, 9, 2, 1), *(1, 0, 1, 9, 2, 2), *(3, 0, 2, 9, 0, 3), 0, 3))
    fetch = get + bytes((2, 0, 0, 4))
    rename = _step(Rename) + bytes((2, 1, 0, 5))
    yield upload, final, finish
    carried = b"\x07\x00" + bytes((0, 0, 0, 2, 0, 8))
    yield upload, carried, finish, fetch
    yield upload, b"\x07\xf0" + carried[2:] + bytes((9, 0, 9)), finish
    yield upload, final, end + bytes((0, 0, 255, 10))
    yield upload, final, finish, finish, upload, fetch
    yield upload, full, final, finish, fetch
    yield upload, full, b"\x0c", upload, final, finish, rename
    yield upload, spoilt, final, finish, small
    yield three, three, three, three, b"\x0b", three, fetch
    yield small, small, small, rename, fetch, _step(Remove) + bytes((1, 6))
    yield upload, full, _step(Abandon) + bytes((0, 6)), small, _step(List) + bytes((6, 6, 2, 6))


def _step(kind: type[Record]) -> bytes:
    return bytes((0, _CODES.index(CODES[kind])))


TARGET = Target(
    "server_session4",
    "server/session4.py, uploading.py, attempts.py, smallfiles.py, batching.py, ownfiles.py",
    _run,
    _seeds,
    max_bytes=512,
)
