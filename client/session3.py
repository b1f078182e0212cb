"""The client's side of protocol 3 over a channel of bytes: requests out, answers judged.

Rules of this module: every message that has an answer goes through `_exchange`, which alone knows
what a general error means; a file counts as sent only when the server has acknowledged that its
checksum was found right.
"""

from collections import Counter, deque
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import NamedTuple, Protocol

from client.content import PIECE_BYTES, SealedContent
from client.errors import (
    BrokenProtocol,
    ConnectionLost,
    ContentRejected,
    FileRefused,
    RegistrationRefused,
    ServerHungUp,
    ServerKeepsFailing,
    ServerSilent,
)
from client.sealing import sealed_size
from protocol.decoder import ResponseDecoder
from protocol.errors import ProtocolError
from protocol.generations import NO_CLIENT_ID, Generation
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

MAX_RESENDS = 3


class Channel(Protocol):
    """A connection, seen as bytes. Both methods raise `ConnectionLost`."""

    def send(self, data: bytes | memoryview) -> None:
        """Hands over all of `data`, which may be reused afterwards."""

    def receive(self) -> bytes:
        """At least one byte; none at the connection's end."""


class Outgoing(Protocol):
    """A file to be sent, under the name that travels."""

    @property
    def name(self) -> str:
        """The file's base name."""

    def open(self, session_key: bytes) -> SealedContent:
        """Opens it for one attempt; raises `FileUnusable`."""

    def progress(self, size: int) -> AbstractContextManager[Callable[[int], object]]:
        """Shows an attempt at `size` bytes; to be told of every piece's bytes when it is out."""


class Receipt(NamedTuple):
    """What the server has acknowledged: size in bytes and checksum of the plain file."""

    size: int
    checksum: int


class GeneralErrors:
    """Counts the general errors in answer to each message until it has another answer.

    One object serves all connections of a run: a lost connection is no answer.
    """

    def __init__(self, report: Callable[[], None]) -> None:
        self._report = report
        self._counts: Counter[str] = Counter()

    def count(self, what: str) -> None:
        """Reports one; raises `ServerKeepsFailing` when the message was sent often enough."""
        self._report()
        self._counts[what] += 1
        if self._counts[what] > MAX_RESENDS:
            self.forget(what)
            raise ServerKeepsFailing(
                f"{what} failed: the server answered with an error {MAX_RESENDS + 1} times"
            )

    def forget(self, what: str) -> None:
        """The message is done with: the next one like it is another one."""
        del self._counts[what]


class Session3:
    """One connection's conversation.

    All methods raise `ConnectionLost`, `BrokenProtocol` and, when the server answers the message
    with the general error also after `MAX_RESENDS` resends, `ServerKeepsFailing`.
    """

    def __init__(
        self, channel: Channel, generation: Generation, general_errors: GeneralErrors
    ) -> None:
        self._channel = channel
        self._generation = generation
        self._general_errors = general_errors
        self._decoder = ResponseDecoder(generation)
        self._answers: deque[Response] = deque()
        self._client_id = NO_CLIENT_ID
        self._notice_may_come = False

    def register(self, name: str) -> bytes:
        """The 16-byte id of the new client; raises `RegistrationRefused`."""
        match self._ask(f"registering {name!r}", Register(name)):
            case Registered(client_id):
                self._client_id = client_id
                return client_id
            case RegistrationFailed():
                raise RegistrationRefused(
                    f"the server refused to register {name!r}; the name is probably taken (also by"
                    " an earlier try that was cut off): choose another name, or bring back the"
                    " me.info and priv.key that belong to it"
                )
            case answer:
                raise _unexpected(answer)

    def send_public_key(self, client_id: bytes, name: str, public_key: bytes) -> bytes:
        """Hands over the public key of a client registered as `client_id`; the sealed AES key."""
        self._client_id = client_id
        match self._ask(f"sending the public key of {name!r}", SendPublicKey(name, public_key)):
            case KeyAccepted(answered_id, wrapped_key) if answered_id == client_id:
                return wrapped_key
            case answer:
                raise _unexpected(answer)

    def reconnect(self, client_id: bytes, name: str) -> bytes | None:
        """The sealed AES key for a client that the server knows, or None when it refuses."""
        self._client_id = client_id
        match self._ask(f"reconnecting as {name!r}", Reconnect(name)):
            case Reconnected(answered_id, wrapped_key) if answered_id == client_id:
                return wrapped_key
            case ReconnectRefused():
                return None
            case answer:
                raise _unexpected(answer)

    def send_file(self, file: Outgoing, session_key: bytes) -> Receipt:
        """Sends a file until the server has its content right and has acknowledged that.

        Raises `FileFailed`: `ContentRejected` when the content arrived wrong four times,
        `FileRefused` after general errors, `FileUnusable` and `FileChanged` as it is read.
        """
        try:
            return self._send_until_right(file, session_key)
        except ServerKeepsFailing as error:
            raise FileRefused(str(error)) from error

    def _send_until_right(self, file: Outgoing, session_key: bytes) -> Receipt:
        differences = []
        while True:
            receipt, received = self._send_once(file, session_key)
            difference = self._difference(file.name, receipt, received)
            if difference is None:
                self._conclude(ChecksumValid(file.name))
                return receipt
            differences.append(difference)
            if len(differences) > MAX_RESENDS:
                self._conclude(ChecksumAbandoned(file.name))
                raise ContentRejected(
                    f"{file.name!r} arrived wrong {len(differences)} times and was given up:"
                    f" {difference}"
                )
            self._channel.send(self._packed(ChecksumInvalid(file.name)))
            # Not to be answered; some servers do, before they answer the file.
            self._notice_may_come = True

    def _send_once(self, file: Outgoing, session_key: bytes) -> tuple[Receipt, FileReceived]:
        """Sends a file until its arrival is answered: what was sent, and the answer."""
        sent: list[Receipt] = []
        answer = self._exchange(
            f"sending {file.name!r}", lambda: sent.append(self._send_content(file, session_key))
        )
        if not isinstance(answer, FileReceived):
            raise _unexpected(answer)
        return sent[-1], answer

    def _send_content(self, file: Outgoing, session_key: bytes) -> Receipt:
        with (
            file.open(session_key) as content,
            file.progress(content.sealed_size) as advance,
            closing(content.pieces()) as pieces,
        ):
            total_packets = -(-content.sealed_size // PIECE_BYTES)
            for number, piece in enumerate(pieces, 1):
                if self._generation.in_packets:
                    packet = SendPacket(
                        content.sealed_size, content.size, number, total_packets, file.name
                    )
                    self._channel.send(self._packed(packet, len(piece)))
                elif number == 1:
                    message = SendFile(content.sealed_size, file.name)
                    self._channel.send(self._packed(message, content.sealed_size))
                self._channel.send(piece)
                advance(len(piece))
            return Receipt(content.size, content.checksum)

    def _difference(self, name: str, sent: Receipt, received: FileReceived) -> str | None:
        """What the server's answer says otherwise than what was sent."""
        if received.client_id != self._client_id:
            return "the server's answer is for another client"
        if received.name != name:
            return f"the server's answer is for the file {received.name!r}"
        if received.content_size != sealed_size(sent.size):
            return f"the server received {received.content_size} bytes of ciphertext"
        if received.checksum != sent.checksum:
            return f"checksum {received.checksum} where {sent.checksum} is right"
        return None

    def _conclude(self, verdict: ChecksumValid | ChecksumAbandoned) -> None:
        answer = self._ask(f"telling the server how {verdict.name!r} arrived", verdict)
        if not isinstance(answer, MessageReceived) or answer.client_id != self._client_id:
            raise _unexpected(answer)

    def _ask(self, what: str, request: Request) -> Response:
        message = self._packed(request)
        answer = self._exchange(what, lambda: self._channel.send(message))
        self._general_errors.forget(what)
        return answer

    def _exchange(self, what: str, send: Callable[[], object]) -> Response:
        """Sends a message until its answer is not the general error.

        Raises `ServerHungUp` when the connection ends after a general error to this message.
        """
        was_refused = False
        while True:
            try:
                send()
                answer = self._receive()
            except ServerSilent:
                raise
            except ConnectionLost as error:
                if self._left_general_error():
                    self._general_errors.count(what)
                elif not was_refused:
                    raise
                raise ServerHungUp(
                    "the server answered with an error and closed the connection"
                ) from error
            if not isinstance(answer, GeneralError):
                return answer
            self._general_errors.count(what)
            was_refused = True

    def _left_general_error(self) -> bool:
        """Whether a server that hung up in the middle of a message said why before it did."""
        try:
            while not isinstance(self._receive(), GeneralError):
                pass
        except (ConnectionLost, BrokenProtocol):
            return False
        return True

    def _receive(self) -> Response:
        while True:
            while not self._answers:
                self._answers.extend(self._decoded(self._channel.receive()))
            answer = self._answers.popleft()
            is_notice = self._notice_may_come and isinstance(answer, MessageReceived | ResendNoted)
            self._notice_may_come = False
            if not is_notice:
                return answer

    def _decoded(self, data: bytes) -> list[Response]:
        if not data:
            raise ConnectionLost("the server closed the connection")
        try:
            return list(self._decoder.feed(data))
        except ProtocolError as error:
            raise BrokenProtocol(
                f"the server does not speak protocol 3, generation {self._generation.name}"
                f" ({error}); is --generation right?"
            ) from error

    def _packed(self, request: Request, content_bytes: int = 0) -> bytes:
        return self._generation.pack_request(self._client_id, request, content_bytes)


def _unexpected(answer: Response) -> BrokenProtocol:
    return BrokenProtocol(f"the server sent {type(answer).__name__} out of turn or for another id")
