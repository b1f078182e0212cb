"""One protocol-3 connection: bytes in, responses out, no socket.

The rules, all of which live here:
- A connection is anonymous until the client sends its public key or reconnects; from then on it has
  a client id and an AES key, every further request must carry that id, and the key is used for
  nothing but this connection (but see `server.keytable`).
- A file is received, answered with its checksum, and kept only once the client says that the
  checksum is valid. At most one file at a time awaits that verdict.
- Of a file's packets only the last is answered, for better or worse.
- What the client may not do is answered (`_refusal`) and the connection goes on; what breaks the
  protocol is answered with a general error and ends it, and so does content that keeps failing to
  decrypt, which is how a padding oracle is asked.
"""

import hmac
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from protocol.decoder import RequestDecoder, RequestEnd, RequestHead
from protocol.errors import ProtocolError, UnsafeName
from protocol.generations import GENERATION_2023A, Generation
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
    Response,
    SendFile,
    SendPacket,
    SendPublicKey,
)
from protocol.names import check_client_name, check_file_name
from server.audit import Audit
from server.config import Config
from server.content3 import RECEIVE_BYTES, IncomingContent
from server.errors import Refused, ServerError, UndecipherableContent
from server.keys import KeyFile, new_aes_key, new_client_id, parse_public_key, wrap_for_client
from server.keytable import Keyed, KeyTable
from server.receiving import Receiver, Upload
from server.repository import Action, Client, NameTaken, Repository
from server.requestlog import RequestLog
from server.trail import Trail

_HEAD_BYTES = 4096
# An honest client sends a file at most four times; a padding oracle needs about 122 tries a byte.
_MAX_UNDECIPHERABLE = 4


@dataclass(frozen=True, slots=True)
class Services:
    """What the sessions of one server share."""

    config: Config
    repository: Repository
    receiver: Receiver
    key_file: KeyFile
    key_table: KeyTable
    generations: Mapping[int, Generation]
    """Which generation each request code means."""
    audit: Audit


class UnknownIdentity(Refused):
    """No registered client has this id and this name."""


class Session3:
    """Feed it with `receive`, send what that yields, and `close` it at the end."""

    def __init__(self, services: Services, address: str) -> None:
        """`address` is the peer's network address, for the log and the key table."""
        self._services = services
        self._address = address
        self._decoder = RequestDecoder(services.generations, services.config.max_file_bytes)
        self._client_id: bytes | None = None
        self._aes_key: bytes | None = None
        self._content: IncomingContent | None = None
        self._awaiting: Upload | None = None
        self._undecipherable = 0
        self._head: RequestHead | None = None
        self._trail = Trail(services.audit, address)
        self._subject: Client | None = None
        self._failure: ServerError | ProtocolError | None = None
        self._log = RequestLog(address)
        self._bytes = 0
        self._head_buffer = bytearray(_HEAD_BYTES)
        self._buffer = memoryview(self._head_buffer)
        self.ended = False
        """Whether the connection must be closed once everything yielded has been sent."""

    @property
    def busy(self) -> bool:
        """Whether a transfer is under way that a drain should let finish."""
        in_parts = self._content is not None or self._awaiting is not None
        return in_parts or not self._decoder.between_requests

    @property
    def between_requests(self) -> bool:
        """Whether the next byte begins a new request."""
        return self._decoder.between_requests

    @property
    def content_wanted(self) -> int:
        """Bytes of file content that are still to come and will be kept."""
        return 0 if self._content is None else self._decoder.content_left

    def writable(self) -> memoryview:
        """Where the next bytes of the peer go; large only while content is kept."""
        wanted = self.content_wanted
        if wanted <= _HEAD_BYTES:
            self._buffer = memoryview(self._head_buffer)
        elif len(self._buffer) <= _HEAD_BYTES:
            self._buffer = memoryview(bytearray(min(RECEIVE_BYTES, wanted)))
        return self._buffer

    def written(self, size: int) -> Iterator[bytes]:
        """Takes what the peer sent into `writable` and yields the responses to send back."""
        return self.receive(self._buffer[:size])

    @property
    def introduced(self) -> bool:
        """Whether a client has a key on this connection, which is as much as protocol 3 proves."""
        return self._client_id is not None

    @property
    def has_deferred(self) -> bool:
        """No answer of protocol 3 waits for anything."""
        return False

    def deferred(self, _patience: float | None = None) -> Iterator[bytes]:
        """Nothing: see `has_deferred`."""
        return iter(())

    def is_awaited(self, _seconds: float) -> bool:
        """Whether the connection may stay silent for longer: never."""
        return False

    def farewell(self) -> Iterator[bytes]:
        """Nothing: protocol 3 has no message for it."""
        return iter(())

    def receive(self, data: memoryview) -> Iterator[bytes]:
        """Takes what the peer sent, in any pieces, and yields the responses to send back."""
        try:
            for event in self._decoder.feed(data):
                match event:
                    case RequestHead():
                        self._open(event)
                    case RequestEnd():
                        yield from self._answer()
                        if self.ended:
                            return
                    case piece:
                        self._take(piece)
        except ProtocolError as error:
            self.ended = True
            generation = self._decoder.generation or GENERATION_2023A
            self._log.tell_broken(error)
            yield generation.pack_response(GeneralError())

    def close(self) -> None:
        """Ends the session: what was received in part is discarded."""
        self._drop_content()
        # A key that somebody may be guessing with dies here, whatever the settings allow.
        trusted = not self._undecipherable
        if trusted and self._client_id is not None and self._aes_key is not None:
            keyed = Keyed(self._aes_key, self._awaiting)
            if self._services.key_table.leave(self._client_id, self._address, keyed):
                self._awaiting = None
        self._drop_awaiting()

    # A request: its head, its content, its answer

    def _open(self, head: RequestHead) -> None:
        self._head = head
        if isinstance(head.request, SendPacket) and head.request.packet > 1:
            self._bytes += head.content_bytes
        else:
            self._failure, self._bytes = None, head.content_bytes
            self._log.begin()
        if isinstance(head.request, SendFile | SendPacket) and self._failure is None:
            try:
                self._open_content(head, head.request)
            except (ServerError, UnsafeName) as error:
                self._fail_content(error)

    def _take(self, piece: memoryview) -> None:
        if self._failure is not None or self._content is None:
            return  # the file has failed: the rest of its content is passed over
        try:
            self._content.take(piece)
        except ServerError as error:
            self._fail_content(error)

    def _answer(self) -> Iterator[bytes]:
        head = self._head
        if head is None:
            raise AssertionError("an end without a head")
        response: Response | None = None
        try:
            if self._failure is None:
                response = self._carry_out(head)
        except (ServerError, ProtocolError) as error:
            self._failure = error
        self._head = None
        if (
            isinstance(head.request, SendPacket)
            and head.request.packet < head.request.total_packets
        ):
            return
        self._log.tell(
            type(head.request).__name__, head.generation.name, head.client_id, self._failure,
            self._bytes,
        )  # fmt: skip
        self._tell(head)
        if self._failure is not None:
            response = _refusal(head, self._failure)
        self.ended = self._undecipherable >= _MAX_UNDECIPHERABLE
        if response is not None:
            yield head.generation.pack_response(response)

    def _carry_out(self, head: RequestHead) -> Response | None:
        match head.request:
            case Register(name=name):
                return self._register(name)
            case SendPublicKey(name=name, public_key=field):
                return self._accept_key(head, name, field)
            case Reconnect(name=name):
                return self._reconnect(head, name)
            case SendFile() | SendPacket() as request:
                return self._finish_content(head, request)
            case ChecksumValid(name=name):
                return self._keep(head, name)
            case ChecksumInvalid():
                self._authenticate(head)
                self._drop_awaiting()
                return None
            case ChecksumAbandoned():
                client_id, _ = self._authenticate(head)
                self._drop_awaiting()
                return MessageReceived(client_id)

    # Identity

    def _register(self, name: str) -> Response:
        self._check_length(name)
        check_client_name(name)
        self._services.receiver.quota.check_free_space()
        now = int(time.time())
        client = Client(id=new_client_id(), name=name, registered_at=now, last_seen=now)
        self._services.repository.add_client(client)
        self._subject = client
        return Registered(client.id)

    def _accept_key(self, head: RequestHead, name: str, field: bytes) -> Response:
        public_key = parse_public_key(field)
        client = self._identify(head.client_id, name)
        if client.public_key not in (None, public_key):
            raise Refused("the client has another public key, which is set only once")
        aes_key, wrapped, stored = self._new_key(head.generation, public_key)
        repository, now = self._services.repository, int(time.time())
        if not repository.set_public_key(client.id, public_key, stored, now):
            raise Refused("the client has another public key, which is set only once")
        self._enter(client.id, aes_key)
        return KeyAccepted(client.id, wrapped)

    def _reconnect(self, head: RequestHead, name: str) -> Response:
        client = self._identify(head.client_id, name)
        if client.public_key is None:
            raise UnknownIdentity("the client has not sent a public key yet")
        aes_key, wrapped, stored = self._new_key(head.generation, client.public_key)
        if not self._services.repository.record_reconnect(client.id, stored, int(time.time())):
            raise UnknownIdentity("the client was removed in the meantime")
        self._enter(client.id, aes_key)
        return Reconnected(client.id, wrapped)

    def _identify(self, client_id: bytes, name: str) -> Client:
        client = self._services.repository.find_client(client_id)
        if client is None or not hmac.compare_digest(
            client.name.encode(), name.encode("utf-8", "surrogateescape")
        ):
            raise UnknownIdentity("no client has this id and this name")
        if client.disabled:
            raise UnknownIdentity("the client is disabled")
        self._subject = client
        return client

    def _check_enabled(self, client_id: bytes) -> None:
        client = self._services.repository.find_client(client_id)
        if client is None or client.disabled:
            raise Refused("no AES key was agreed on this connection")

    def _new_key(self, generation: Generation, public_key: bytes) -> tuple[bytes, bytes, bytes]:
        """A new AES key: itself, under the client's key, and under the server's key file."""
        aes_key = new_aes_key(generation.aes_key_bytes)
        wrapped = wrap_for_client(aes_key, public_key)
        return aes_key, wrapped, self._services.key_file.wrap(aes_key)

    def _enter(self, client_id: bytes, aes_key: bytes) -> None:
        self._drop_content()
        self._drop_awaiting()
        self._client_id, self._aes_key = client_id, aes_key

    def _authenticate(self, head: RequestHead) -> tuple[bytes, bytes]:
        """The connection's client id and AES key, when the request is that client's."""
        if self._aes_key is None and self._services.config.reuse_keys_seconds:
            self._check_enabled(head.client_id)  # what is left from before may have to end
            keyed = self._services.key_table.take(head.client_id, self._address)
            if keyed is not None:
                self._client_id, self._aes_key = head.client_id, keyed.aes_key
                self._awaiting = keyed.awaiting
        if self._client_id is None or self._aes_key is None:
            raise Refused("no AES key was agreed on this connection")
        if not hmac.compare_digest(self._client_id, head.client_id):
            raise Refused("the client id is not this connection's")
        return self._client_id, self._aes_key

    # Files

    def _open_content(self, head: RequestHead, request: SendFile | SendPacket) -> None:
        client_id, aes_key = self._authenticate(head)
        if isinstance(request, SendFile) or request.packet == 1:
            self._drop_content()
            self._drop_awaiting()
            self._check_length(request.name)
            check_file_name(request.name)
            upload = self._services.receiver.begin(
                client_id, request.name, IncomingContent.announced_bytes(request)
            )
            try:
                self._content = IncomingContent(aes_key, upload)
            except BaseException:  # no memory, most likely, which mmap tells by an OSError
                upload.discard()
                raise
        if self._content is None:
            raise Refused("the first packet is missing")
        self._content.open(request, head.content_bytes)

    def _finish_content(self, head: RequestHead, request: SendFile | SendPacket) -> Response | None:
        client_id, _ = self._authenticate(head)
        if self._content is None:
            raise Refused("no content is being received")
        try:
            complete = self._content.close()
        except ServerError as error:
            self._fail_content(error)
            raise
        if not complete:
            return None
        self._awaiting, self._content = self._content.upload, None
        return FileReceived(client_id, request.content_size, request.name, self._awaiting.checksum)

    def _fail_content(self, error: ServerError | ProtocolError) -> None:
        self._failure = error
        self._undecipherable += isinstance(error, UndecipherableContent)
        self._drop_content()

    def _keep(self, head: RequestHead, name: str) -> Response:
        client_id, _ = self._authenticate(head)
        if self._awaiting is None or self._awaiting.name != name:
            raise Refused("no file of this name awaits a verdict")
        client = self._services.repository.find_client(client_id)
        self._awaiting.publish(self._trail.event(Action.UPLOAD, client))
        self._awaiting = None
        return MessageReceived(client_id)

    def _drop_content(self) -> None:
        if self._content is not None:
            self._content.upload.discard()
            self._content = None

    def _drop_awaiting(self) -> None:
        if self._awaiting is not None:
            self._awaiting.discard()
            self._awaiting = None

    def _check_length(self, name: str) -> None:
        limit = self._services.config.max_name_bytes
        if len(name.encode("utf-8", "surrogateescape")) > limit:
            raise UnsafeName(f"the name is longer than {limit} bytes")

    def _tell(self, head: RequestHead) -> None:
        """What the audit trail has to know of a request; of files stored it does already."""
        match head.request:
            case Register():
                action = Action.REGISTER
            case SendPublicKey() | Reconnect():
                action = Action.CONNECT
            case _:
                return
        # Whoever fails has given a name, and may have given any.
        client = self._subject if self._failure is None else None
        self._trail.tell(self._trail.event(action, client, self._failure))


def _refusal(head: RequestHead, error: ServerError | ProtocolError) -> Response:
    """One place decides what a failure looks like from outside; it never says why."""
    match head.request, error:
        case Register(), NameTaken() | UnsafeName():
            return RegistrationFailed()
        case Reconnect(), UnknownIdentity():
            return ReconnectRefused(head.client_id)
    return GeneralError()
