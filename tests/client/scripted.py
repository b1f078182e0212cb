"""A channel whose answers are written down beforehand, and files to send over it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from Crypto.Cipher import AES, PKCS1_OAEP
from Crypto.PublicKey import RSA
from Crypto.Util.Padding import unpad

from client.content import SealedContent
from client.errors import ConnectionLost
from client.session3 import GeneralErrors, Session3
from protocol.decoder import RequestDecoder, RequestHead
from protocol.generations import GENERATION_2023A, Generation
from protocol.messages3 import (
    FileReceived,
    KeyAccepted,
    MessageReceived,
    Request,
    Response,
    SendFile,
    SendPacket,
)

CLIENT_ID = bytes(range(16))
SESSION_KEY = bytes(range(16, 32))


class ScriptedChannel:
    """Hands out one item of `script` for each receive: a response, raw bytes, or an error.

    After the script the connection ends. `cut_after` bytes sending raises `ConnectionLost`.
    """

    def __init__(
        self,
        *script: Response | bytes | Exception,
        generation: Generation = GENERATION_2023A,
        cut_after: int | None = None,
    ) -> None:
        self._script = list(script)
        self._generation = generation
        self._cut_after = cut_after
        by_code = dict.fromkeys(generation.requests, generation)
        self._decoder = RequestDecoder(by_code, 1 << 32)
        self.sent = 0
        self.requests: list[Request] = []
        self.client_ids: list[bytes] = []
        self.contents: list[bytes] = []

    def send(self, data: bytes | memoryview) -> None:
        self.sent += len(data)
        if self._cut_after is not None and self.sent > self._cut_after:
            raise ConnectionLost("cut")
        for item in self._decoder.feed(data):
            if isinstance(item, RequestHead):
                self.requests.append(item.request)
                self.client_ids.append(item.client_id)
                if isinstance(item.request, SendFile | SendPacket):
                    self.contents.append(b"")
            elif isinstance(item, memoryview):
                self.contents[-1] += item

    def receive(self) -> bytes:
        if not self._script:
            return b""
        item = self._script.pop(0)
        if isinstance(item, Exception):
            raise item
        return item if isinstance(item, bytes) else self._generation.pack_response(item)

    @property
    def kinds(self) -> list[str]:
        return [type(request).__name__ for request in self.requests]

    @property
    def is_used_up(self) -> bool:
        return not self._script


@dataclass
class FileOnDisk:
    """An `Outgoing` that remembers what was reported of its progress."""

    path: Path
    advances: list[int] = field(default_factory=list)
    opened: Callable[[], object] = lambda: None

    @property
    def name(self) -> str:
        return self.path.name

    def open(self, session_key: bytes) -> SealedContent:
        self.opened()
        return SealedContent(self.path, session_key)

    def progress(self, size: int) -> AbstractContextManager[Callable[[int], object]]:
        @contextmanager
        def progress() -> Iterator[Callable[[int], object]]:
            self.advances.append(-size)
            yield self.advances.append

        return progress()


class Lines(list[str]):
    """Counts the general errors that a session reports."""

    def general_error(self) -> None:
        self.append("general error")


def session_on(
    channel: ScriptedChannel, lines: Lines | None = None, generation: Generation = GENERATION_2023A
) -> Session3:
    """A session over the channel."""
    report = lines if lines is not None else Lines()
    return Session3(channel, generation, GeneralErrors(report.general_error))


def received(path: Path, checksum: int, **changes: object) -> FileReceived:
    """The right answer to a file, but for `changes`."""
    size = path.stat().st_size
    fields: dict[str, object] = {
        "client_id": CLIENT_ID,
        "content_size": size + 16 - size % 16,
        "name": path.name,
        "checksum": checksum,
    }
    return FileReceived(**(fields | changes))  # type: ignore[arg-type]


def key_accepted(private_key: bytes, session_key: bytes = SESSION_KEY) -> KeyAccepted:
    """The answer that hands out `session_key`, sealed for this private key."""
    return KeyAccepted(CLIENT_ID, wrap(private_key, session_key))


def wrap(private_key: bytes, session_key: bytes) -> bytes:
    """The session key as a server seals it."""
    public_key = RSA.import_key(private_key).public_key()
    return PKCS1_OAEP.new(public_key).encrypt(session_key)


def opened(ciphertext: bytes, session_key: bytes = SESSION_KEY) -> bytes:
    """The plain content of a whole ciphertext."""
    cipher = AES.new(session_key, AES.MODE_CBC, iv=bytes(16))
    return unpad(cipher.decrypt(ciphertext), 16)


ACKNOWLEDGED = MessageReceived(CLIENT_ID)
