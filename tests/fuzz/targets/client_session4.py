"""The client's side of protocol 4 against a server that sends what it likes.

The channel is the product's, over a socket that is none. An input's bytes choose what the client
does, and answers: fitting ones, sealed and signed as the real server would, altered ones and raw
bytes, early, late or never.
"""

import errno
import hashlib
import os
import ssl
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import session4
from client.channel4 import Channel4
from client.datachannel import DataChannel
from client.downloading import download
from client.errors import ChallengeNotOpened, ClientError
from client.identity4 import Identity4
from client.reading import FileContent
from client.receipts import Receipt, Signer
from client.session4 import Access, Session4
from client.smallfiles import Group
from client.uploading import Upload, send
from protocol.contexts import Direction
from protocol.decoder4 import FrameDecoder
from protocol.merkle import leaf_hash
from protocol.messages4 import (
    CODES,
    DATA_REQUESTS,
    REQUESTS,
    RESPONSES,
    Content,
    Policy,
    Put,
    Request4,
    Segment,
)
from protocol.names import check_path
from protocol.receipts import ReceiptBody, signed_bytes
from protocol.smallfiles import SmallFile
from server.sealing import SegmentSealer, content_key
from tests.fuzz import scratch
from tests.fuzz.choices import Choices
from tests.fuzz.drawing import Material, frame, payload
from tests.fuzz.replacing import replaced
from tests.fuzz.target import Target, must

_ID, _SECRET, _FINGERPRINT = bytes(range(16)), bytes(range(32)), bytes(32)
_CODES = tuple(RESPONSES)
_OBJECT = b"o" * 16
_PLAIN = b"content" * 9
_MOST_REQUESTS = 64
_ANSWER = 0x8000  # what tells a response's code from its request's, mostly


@cache
def _signing() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@cache
def _receipt_key() -> bytes:
    return _signing().public_key().public_bytes_raw()


class _Answers(Material):
    """What the fields of answers hold: what an honest server would say, and now and then not."""

    def __init__(self) -> None:
        self.request: Request4 | None = None
        self.salt = bytes(32)
        self._given: dict[str, Callable[[], bytes] | bytes] = {
            "name": lambda: str(getattr(self.request, "name", "a")).encode(),
            "upload_id": _OBJECT,
            "size": len(_PLAIN).to_bytes(8, "little"),
            "sha256": hashlib.sha256(_PLAIN).digest(),
            "sealed": self._sealed,
            "index": bytes(8),
            "offset": bytes(8),
            "final": b"\1",
            "receipt_key": _receipt_key(),
            "client_id": _ID,
            "body": self._body,
            "signature": lambda: _signing().sign(signed_bytes(1, leaf_hash(self._body()))),
            "count": b"\1\0",
            "table": b"\0",
        }

    def value(self, name: str, size: int | None, choices: Choices) -> bytes | None:
        if choices.byte() > 220:
            return None
        given: Callable[[], bytes] | bytes | None = self._given.get(name)
        if name == "received" and isinstance(self.request, Put):
            return (7).to_bytes(8, "little")  # as in the receipt's body
        if name == "encrypted_secret":
            return bytes((choices.byte(),)) * 384
        return given() if callable(given) else given

    def _sealed(self) -> bytes:
        key = content_key(_SECRET, self.salt, Direction.TO_CLIENT, _ID, _OBJECT)
        output = memoryview(bytearray(len(_PLAIN) + 16))
        sealer = SegmentSealer(key, _OBJECT)
        return bytes(sealer.seal(0, memoryview(_PLAIN), output, final=True))

    def _body(self) -> bytes:
        request = self.request
        sha256 = getattr(request, "sha256", hashlib.sha256(_PLAIN).digest())
        size = getattr(request, "size", None)
        upload_id = getattr(request, "upload_id", b"u" * 16)
        return ReceiptBody(
            _receipt_key(), _ID, upload_id, len(_PLAIN) if size is None else size, 7, sha256,
            "alice", "a",
        ).pack()  # fmt: skip


class _Socket:
    """A TLS socket whose peer is the input. `fileno` is one that is always ready."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._answers = _Answers()
        self._decoder: FrameDecoder[Request4] = FrameDecoder(REQUESTS)
        self._asked: list[int] = []
        self._waiting = bytearray()
        self._awaited = False
        self._answered = 0
        self.requests = 0

    def setblocking(self, blocking: bool) -> None:
        """Never blocks."""

    def fileno(self) -> int:
        """Asked for by who is about to wait: then there is something."""
        self._awaited = True
        return _always_ready()

    def send(self, data: memoryview) -> int:
        if self._choices.byte() > 250:
            raise BrokenPipeError(errno.EPIPE, "cut")
        size = len(data)
        while data:
            space = self._decoder.writable()
            taken, data = data[: len(space)], data[len(space) :]
            space[: len(taken)] = taken
            for request_id, request in self._decoder.written(len(taken)):
                self._note(request_id, request)
        return size

    def _note(self, request_id: int, request: Request4) -> None:
        self.requests += 1
        must(self.requests < _MOST_REQUESTS, "a client does not ask without end")
        if not isinstance(request, Segment):
            self._asked.append(request_id)
        self._answers.request = request
        self._answers.salt = getattr(request, "salt", self._answers.salt)

    def recv_into(self, buffer: memoryview) -> int:
        awaited, self._awaited = self._awaited, False
        if not self._waiting and not awaited and self._choices.byte() < 200:
            raise ssl.SSLWantReadError
        if not self._waiting:
            self._waiting += self._answer()
        size = min(len(buffer), len(self._waiting), 1 + self._choices.byte() * 16)
        buffer[:size] = self._waiting[:size]
        del self._waiting[:size]
        return size

    def _answer(self) -> bytes:
        choices = self._choices
        if not choices.left:
            return b""
        kind = choices.byte()
        if kind > 245:
            return choices.some()
        code = self._code(kind)
        content = payload(RESPONSES[code], choices, self._answers)
        answer = bytearray(frame(code, self._request_id(choices.byte()), content))
        if kind > 230:
            answer[choices.number(2) % len(answer)] = choices.byte()
        return bytes(answer)

    def _code(self, kind: int) -> int:
        """Of an answer: mostly one that the latest request, or its like, has in the tables."""
        request = self._answers.request
        if request is not None and kind < 180:
            code = CODES[type(request)] - (kind >= 90) | _ANSWER
            if code in RESPONSES:
                return code
        return self._choices.pick(_CODES)

    def _request_id(self, kind: int) -> int:
        """Of the oldest request without an answer, of the latest that had one, or any."""
        if kind < 128 and self._asked:
            self._answered = self._asked.pop(0)
        return self._answered if kind < 240 else kind

    def content(self) -> bytes:
        """What comes on a data connection: mostly content that fits, nothing at its end."""
        choices = self._choices
        if not choices.left:
            return b""
        kind = choices.byte()
        if kind > 240:
            return choices.some()
        code = CODES[Content] if kind < 200 else choices.pick(_CODES)
        return frame(code, self._request_id(255), payload(RESPONSES[code], choices, self._answers))

    def data_ended(self) -> bool:
        """Whether the server has hung up."""
        return self._choices.byte() > 240

    def cut(self) -> bool:
        """Whether what is being sent does not arrive."""
        return self._choices.byte() > 250


class _DataSocket:
    """A plain socket to the same server."""

    def __init__(self, server: _Socket) -> None:
        self._server = server
        self._decoder: FrameDecoder[Segment] = FrameDecoder(DATA_REQUESTS)

    def fileno(self) -> int:
        return _always_ready() if self._server.data_ended() else _never_ready()

    def sendmsg(self, parts: list[memoryview]) -> int:
        if self._server.cut():
            raise BrokenPipeError(errno.EPIPE, "cut")
        for part in parts:
            rest = part
            while rest:
                space = self._decoder.writable()
                taken, rest = rest[: len(space)], rest[len(space) :]
                space[: len(taken)] = taken
                for _ in self._decoder.written(len(taken)):
                    pass  # a whole segment, in form
        return sum(map(len, parts))

    def recv_into(self, buffer: memoryview) -> int:
        data = self._server.content()[: len(buffer)]
        buffer[: len(data)] = data
        return len(data)


@cache
def _always_ready() -> int:
    reading, writing = os.pipe()
    os.write(writing, b"x")
    return reading


@cache
def _never_ready() -> int:
    return os.pipe()[0]


@cache
def _source() -> Path:
    path = scratch.directory("client4") / "source"
    path.write_bytes(_PLAIN)
    return path


# Opening a challenge with RSA would take all the time there is.
def _open_challenge(
    _key: bytes, encrypted: bytes, _fingerprint: bytes, _client_id: bytes
) -> tuple[bytes, bytes]:
    if encrypted[:1] == b"\xff":
        raise ChallengeNotOpened("not ours")
    return _SECRET, bytes(32)


class _Client:
    """Does what the input says, over a connection that is let in."""

    def __init__(self, choices: Choices, directory: Path) -> None:
        self._choices = choices
        self._directory = directory
        self.socket = _Socket(choices)
        self._session = Session4(Channel4(self.socket, 1.0))  # type: ignore[arg-type] # as a socket
        self._access = Access(Signer(_receipt_key(), _ID, "alice"), _SECRET)
        if choices.byte() % 4 == 3:
            data = DataChannel(_DataSocket(self.socket))  # type: ignore[arg-type] # as a socket
            self._session.use_data(data)

    def run(self) -> None:
        deeds: tuple[Callable[[], object], ...] = (
            self._download, self._post, self._send, self._list, self._connect, self._register,
            lambda: self._session.stat("a"), lambda: self._session.remove("a"),
            lambda: self._session.rename("a", "b", Policy.NEVER),
            lambda: self._session.abandon(bytes(16)),
        )  # fmt: skip
        for _ in range(4):
            if not self._choices.left:
                return
            try:
                self._choices.pick(deeds)()
            except ClientError as error:
                must("\n" not in str(error), "an error is one line")
                must(str(error).isprintable(), "an error can be shown on a terminal")
                return

    def _connect(self) -> None:
        identity = Identity4("alice", _ID, b"a key")
        access = self._session.connect(identity, _FINGERPRINT)
        must(len(access.signer.receipt_key) == 32, "a receipt key has 32 bytes")

    def _register(self) -> None:
        must(len(self._session.register("alice", "token", b"key")) == 16, "an id has 16 bytes")

    def _list(self) -> None:
        page = self._session.list_page("", "", 3)
        must(len(page.entries) <= 3, "no more names than were asked for")
        for entry in page.entries:
            check_path(entry.name)

    def _post(self) -> None:
        upload, group = _upload(), Group()
        digest = hashlib.sha256(_PLAIN).digest()
        file = SmallFile(
            upload.upload_id, len(_PLAIN), upload.modified, upload.mode, upload.policy, digest,
            upload.name,
        )  # fmt: skip
        group.add(_source(), file, _PLAIN)
        self._session.post(group.sealed(self._access))
        for outcome in group.check(self._access, self._session.posted()):
            if isinstance(outcome, Receipt):
                _check(outcome)

    def _send(self) -> None:
        resumed: list[int] = []
        with FileContent(_source()) as content:
            receipt = send(
                self._session, self._access, _upload(), content,
                progress=lambda _done, _all: None, resumed=resumed.append,
            )  # fmt: skip
        must(resumed in ([], [0]), "the server does not say that it has what was never sent")
        _check(receipt)

    def _download(self) -> None:
        target = self._directory / "copy"
        target.unlink(missing_ok=True)
        try:
            entry = download(
                self._session, self._access, "a", target, progress=lambda _done, _all: None
            )
        except ClientError:
            must(not target.exists(), "what does not verify gets no name")
            raise
        content = target.read_bytes()
        must(content in (_PLAIN, b""), "only what was sealed for this client is kept")
        must(entry.sha256 in (None, hashlib.sha256(content).digest()), "the whole verifies")


def _upload() -> Upload:
    return Upload(b"u" * 16, "a", Policy.ALWAYS, 1, 0o640)


def _check(receipt: Receipt) -> None:
    must(receipt.body.sha256 == hashlib.sha256(_PLAIN).digest(), "a receipt is for what was sent")
    must(receipt.body.client_id == _ID, "a receipt is for this client")


def _run(data: bytes) -> None:
    choices = Choices(data)
    with replaced(session4, open_challenge=_open_challenge):
        _Client(choices, scratch.directory("client4")).run()


def _seeds() -> Iterable[bytes]:
    for seed in _conversations():
        yield b"\0" + seed
        yield b"\3" + seed


def _conversations() -> Iterable[bytes]:
    """Seeds without the choice of whether there is a data connection."""
    for deed in range(10):
        for code in range(len(_CODES)):
            yield bytes((deed, 0, 0, 0, code)) + bytes(40)
            yield bytes((deed, 0, 0, 0, code)) + b"\1" * 40
    early, answered = b"\0", b"\0\xff"
    entry = bytes((100, 0, 0, 0, 0, 0, 0xA0, 1, 0, 0))
    whole, missing, wrong = b"\1\0\0\0", b"\0\0\0", b"\1\xff" + bytes(32) + b"\0\0"
    stored = bytes(6) + answered
    for digest in (whole, missing, wrong):
        content = b"\0" + bytes(4) + answered
        yield b"\0" + early + b"\0\0" + entry + digest + answered + content
    for sending in range(1, 4):  # in as many calls as the client may take
        honest = bytes((*[0] * sending, 0, 100))
        yield b"\1" + early + honest + bytes((0, 0, 0, 0, 0)) + answered
        yield b"\1" + early + honest + bytes((255, 200, 0)) + bytes(200) + answered
    begun = b"\2" + early + bytes((0, 0, 0, 0)) + answered
    for other in (b"", b"\xff\0", b"\xff\x80\x09" + bytes(9)):  # and a body that is none
        for waits in range(4):
            ended = early * waits + bytes((0, 0)) + early + b"\0\0" + other + stored
            yield begun + ended
    yield b"\4" + early + bytes((0, 0, 0, 0, 0)) + answered + early + bytes(7) + answered
    yield b"\3" + early + bytes((0, 0, 0, 0, 0, 2)) + bytes(90)


TARGET = Target(
    "client_session4",
    "client/session4.py, channel4.py, uploading.py, smallfiles.py, downloading.py, receipts.py",
    _run,
    _seeds,
    max_bytes=512,
)
