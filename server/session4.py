"""One protocol-4 connection behind TLS: bytes in, responses out, no socket.

The rules, all of which live here:
- A connection is anonymous until the client has proved that it opened the challenge; before that it
  may register, connect and prove, and after that everything else (section 3.2).
- Requests are carried out and answered in order. Small files alone are held back: what has arrived
  without a gap is made durable together, in batches, before anything else is carried out
  (`server.batching`).
- A failed segment fails its attempt; what follows of that attempt is passed over, and its end is
  answered with the reason (`server.openuploads`).
- What the client may not do is answered (`server.refusals`); what breaks the protocol, and failed
  access, also ends the connection.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from protocol.decoder4 import FrameDecoder
from protocol.errors import ProtocolError, UnsafeName
from protocol.messages4 import (
    INTRODUCTIONS,
    REQUESTS,
    Abandon,
    Attach,
    Begin,
    Begun,
    Challenge,
    Connect,
    Connected,
    Done,
    End,
    Get,
    Prove,
    Put,
    Register,
    Registered,
    Remove,
    Rename,
    Request4,
    Response4,
    Segment,
    Stored,
    Ticket,
    pack_head,
    pack_message,
)
from protocol.names import check_client_name, check_path
from server.access import Access, Bans
from server.access import Challenge as SentChallenge
from server.audit import Audit
from server.batching import Batches
from server.config import Config
from server.errors import AccessDenied, FileExists, ServerError, ShuttingDown
from server.openuploads import OpenUploads
from server.ownfiles import OwnFiles, entry_of
from server.rates import Rates
from server.receiptkey import ReceiptKey
from server.receiving import Receiver
from server.refusals import Failure, explain
from server.repository import Action, Client, Event, Repository
from server.requestlog import RequestLog
from server.segmentmemory import SegmentMemory
from server.smallfiles import Arrived, SmallFiles
from server.tickets import Tickets
from server.trail import Trail
from server.uploading import Uploads

Buffer = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Services4:
    """What the protocol-4 sessions of one server share."""

    config: Config
    repository: Repository
    receiver: Receiver
    uploads: Uploads
    small_files: SmallFiles
    access: Access
    bans: Bans
    rates: Rates
    receipt_key: ReceiptKey
    memory: SegmentMemory
    tickets: Tickets
    audit: Audit


class Session4:
    """Receive into `writable`, pass the count to `written`, send what that yields; when no more
    bytes are at hand, send what `deferred` yields; `close` at the end."""

    def __init__(self, services: Services4, address: str, fingerprint: bytes) -> None:
        """`fingerprint` is that of the certificate which this connection was shown."""
        self._services = services
        self._address = address
        self._fingerprint = fingerprint
        # Nobody unknown is given memory for a message that he may not send.
        self._decoder = FrameDecoder(INTRODUCTIONS)
        self._challenge: SentChallenge | None = None
        self._client: Client | None = None
        self._secret = b""
        self._open_uploads: OpenUploads | None = None
        self._small = Batches(services.small_files)
        self._trail = Trail(services.audit, address)
        self._requests = RequestLog(address)
        self.ended = False
        """Whether the connection must be closed once everything yielded has been sent."""

    @property
    def introduced(self) -> bool:
        """Whether the client has proved itself."""
        return self._client is not None

    @property
    def busy(self) -> bool:
        """Whether something is under way that a drain should let finish."""
        return bool(self._open_uploads or self._small or not self._decoder.between_messages)

    @property
    def between_requests(self) -> bool:
        """Whether the next byte begins a new message."""
        return self._decoder.between_messages

    def is_awaited(self, seconds: float) -> bool:
        """Whether the connection may stay although it has been silent for so many seconds: its data
        connection was not."""
        uploads = self._open_uploads
        return uploads is not None and uploads.latest > time.monotonic() - seconds

    @property
    def has_deferred(self) -> bool:
        """Whether answers wait for `deferred`."""
        return bool(self._small)

    def writable(self) -> memoryview:
        """Where the next bytes of the peer go."""
        return self._decoder.writable()

    def written(self, size: int) -> Iterator[Buffer]:
        """Takes what the peer sent into `writable` and yields the responses to send back."""
        try:
            for request_id, request in self._decoder.written(size):
                if not isinstance(request, Put):
                    yield from self.deferred()
                yield from self._answer(request_id, request)
                if self.ended:
                    return
        except ProtocolError as error:
            yield from self.deferred()
            self.ended = True
            self._log(None, error, 0)
            yield pack_message(explain(error), self._decoder.request_id)

    def deferred(self, patience: float | None = None) -> Iterator[Buffer]:
        """Makes the small files that wait durable together and yields their answers.

        With `patience` it waits only so many seconds for what another thread makes durable.
        """
        if self._small:
            yield from self._told(self._small.finish(self._upload_event, patience))

    def _told(self, published: Sequence[Arrived]) -> Iterator[Buffer]:
        for arrived in published:
            failed: dict[str, list[tuple[str, Failure]]] = defaultdict(list)
            stored = 0
            for file, result in arrived.each():
                if isinstance(result, Exception):
                    failed[type(result).__name__].append((file.name, result))
                else:
                    stored += 1
            if stored:
                self._log("Put", None, arrived.size, stored)
            for failures in failed.values():
                self._tell_failed([name for name, _ in failures], failures[0][1])
                for _, failure in failures:
                    self._log("Put", failure, 0)
            yield pack_message(arrived.outcomes(), arrived.request_id)

    def _tell_failed(self, names: Sequence[str], failure: Failure) -> None:
        if isinstance(failure, UnsafeName):
            names = ()  # that no file can have
        self._trail.tell(
            self._trail.event(Action.UPLOAD, self._client, failure, subjects=tuple(names))
        )

    def farewell(self) -> Iterator[Buffer]:
        """Tells a client with nothing under way that the server stops."""
        self.ended = True
        yield pack_message(explain(ShuttingDown("the server is being stopped")), 0)

    def close(self) -> None:
        """Ends the session: interrupted uploads stay for the next attempt."""
        try:
            for _ in self.deferred():
                pass  # what was received whole is kept even when its answer reaches nobody
        finally:
            if self._open_uploads is not None:
                self._services.tickets.revoke(self._open_uploads)
                self._open_uploads.close()

    # One request

    def _answer(self, request_id: int, request: Request4) -> Iterator[Buffer]:
        self._requests.begin()
        try:
            self._check_turn(request)
            match request:
                case Segment():
                    self._uploads.take(request)
                    return
                case Put():
                    yield from self._defer(request_id, request)
                    return
                case Get():
                    yield from self._send(request_id, request)
                    return
            response = self._carry_out(request)
        except (ServerError, ProtocolError) as error:
            yield from self.deferred()  # a small file that does not verify has others before it
            yield from self._refuse(request_id, request, error)
            return
        size = request.size or 0 if isinstance(request, End) else 0
        self._log(type(request).__name__, None, size)
        self._tell(request, None)
        yield pack_message(response, request_id)

    def _refuse(self, request_id: int, request: Request4, error: Failure) -> Iterator[Buffer]:
        refused = explain(error)
        if isinstance(error, AccessDenied):
            self._services.bans.record(self._address)
        self.ended = refused.reason.closes
        self._log(type(request).__name__, error, 0)
        self._tell(request, error)
        yield pack_message(refused, request_id)

    def _tell(self, request: Request4, failure: Failure | None, size: int | None = None) -> None:
        """What the audit trail has to know of a request; of files stored it does already."""
        event = partial(self._trail.event, client=self._client, failure=failure, size=size)
        # A name that no file can have is the log's; the trail has a line for each name.
        named = not isinstance(failure, UnsafeName)
        match request:
            case Register(name=name):
                self._trail.tell(event(Action.REGISTER, name=name if named else None))
            case Prove():
                self._trail.tell(event(Action.CONNECT))
            case Remove(name=name):
                self._trail.tell(event(Action.REMOVE, subjects=(name,) * named))
            case Rename(old_name=name, new_name=new):
                subjects, target = ((name,), new) if named else ((), None)
                self._trail.tell(event(Action.RENAME, subjects=subjects, target=target))
            case Get(name=name):
                self._trail.tell(event(Action.DOWNLOAD, subjects=(name,) * named))
            case Begin(name=name) if failure is not None:
                self._trail.tell(event(Action.UPLOAD, subjects=(name,) * named))
            case End() if failure is not None and not isinstance(failure, FileExists):
                self._trail.tell(event(Action.UPLOAD))

    def _upload_event(self) -> Event:
        return self._trail.event(Action.UPLOAD, self._client)

    def _check_turn(self, request: Request4) -> None:
        introduces = isinstance(request, Register | Connect | Prove)
        if introduces == self.introduced:
            raise ProtocolError(f"{type(request).__name__} is out of turn")
        if introduces:
            self._services.bans.check(self._address)

    def _carry_out(self, request: Request4) -> Response4:
        match request:
            case Register():
                return self._register(request)
            case Connect():
                return self._connect(request)
            case Prove():
                return self._prove(request)
            case Begin():
                return self._begin(request)
            case End():
                return self._end(request)
            case Abandon(upload_id=upload_id):
                self._uploads.leave(upload_id)
                self._services.uploads.abandon(self._known, upload_id)
                return Done()
            case Attach():
                return Ticket(self._services.tickets.issue(self._uploads))
            case _:
                return self._files.carry_out(request)

    # Identity

    def _register(self, request: Register) -> Response4:
        check_client_name(request.name)
        self._check_length(request.name)
        self._services.receiver.quota.check_free_space()
        access = self._services.access
        return Registered(access.register(request.name, request.token, request.public_key))

    def _connect(self, request: Connect) -> Response4:
        challenge = self._services.access.challenge(request.client_id, self._fingerprint)
        self._challenge = challenge
        return Challenge(challenge.sealed)

    def _prove(self, request: Prove) -> Response4:
        challenge, self._challenge = self._challenge, None
        if challenge is None:
            raise ProtocolError("a proof without a challenge")
        self._client = self._services.access.check(challenge, request.proof)
        self._secret = challenge.secret
        self._decoder.expect(REQUESTS)
        services = self._services
        self._open_uploads = OpenUploads(services.uploads, services.rates, self._client.id)
        return Connected(self._services.receipt_key.public, int(time.time()), self._client.name)

    @property
    def _known(self) -> Client:
        if self._client is None:
            raise ProtocolError("the client has not proved itself")
        return self._client

    # Uploads

    @property
    def _uploads(self) -> OpenUploads:
        if self._open_uploads is None:
            raise ProtocolError("the client has not proved itself")
        return self._open_uploads

    def _begin(self, request: Begin) -> Response4:
        check_path(request.name)
        self._uploads.make_room(request.upload_id)
        opened = self._services.uploads.begin(self._known, request, self._secret)
        if isinstance(opened, Stored):
            return opened
        self._uploads.add(opened)
        return Begun(opened.offset)

    def _end(self, request: End) -> Response4:
        attempt = self._uploads.take_out(request.upload_id, self._services.config.read_seconds)
        return self._services.uploads.finish(attempt, request, self._upload_event())

    def _defer(self, request_id: int, request: Put) -> Iterator[Buffer]:
        self._services.rates.take(self._known.id, len(request.sealed))
        files = self._services.small_files
        arrived = files.take(request_id, self._known, request, self._secret)
        yield from self._told(self._small.add(arrived, self._upload_event))

    # Files

    @property
    def _files(self) -> OwnFiles:
        services = self._services
        return OwnFiles(
            services.repository,
            services.receiver,
            services.rates,
            services.memory,
            self._known.id,
        )

    def _send(self, request_id: int, request: Get) -> Iterator[Buffer]:
        files = self._files
        file, stream = files.open(request)
        with stream:
            yield pack_message(entry_of(file), request_id)
            link = self._uploads.link
            contents = files.content(file, stream, request, self._secret)
            if link is not None:
                # Should it fail, this ends the data connection: the client waits on that one.
                with link.sending():
                    for content in contents:
                        link.send((pack_head(content, request_id), memoryview(content.sealed)))
            else:
                for content in contents:
                    yield pack_head(content, request_id)
                    yield memoryview(content.sealed)
        self._log("Get", None, file.size - request.offset)
        self._tell(request, None, file.size - request.offset)

    # Odds and ends

    def _check_length(self, name: str) -> None:
        limit = self._services.config.max_name_bytes
        if len(name.encode()) > limit:
            raise UnsafeName(f"the name is longer than {limit} bytes")

    def _log(
        self, request: str | None, failure: Failure | None, size: int, files: int | None = None
    ) -> None:
        client_id = self._client.id if self._client else None
        self._requests.tell(request or "", "4", client_id, failure, size, files)
