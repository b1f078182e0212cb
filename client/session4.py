"""The client's side of protocol 4 over a channel of messages: requests out, answers judged.

Rules of this module: answers come in the order of the requests, and each is judged before anything
is done with it; a refusal becomes the error that it means; after an error that is not a
`FileFailed` the conversation is over and its connection is to be closed.
"""

import os
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol, TypeVar

from client.channel4 import Answer
from client.errors import (
    BadInput,
    BrokenProtocol,
    ClientError,
    ConnectionLost,
    FileUnusable,
    ServerSilent,
)
from client.identity4 import Identity4
from client.receipts import Signer
from client.refusals import refusal
from client.sealing4 import ContentKey, open_challenge, seal_files
from protocol.contexts import SALT_BYTES, TAG_BYTES, Direction, segment_count, segment_span
from protocol.errors import ProtocolError, UnsafeName
from protocol.fields import Buffer
from protocol.messages4 import (
    Abandon,
    Attach,
    Begin,
    Begun,
    Challenge,
    Connect,
    Connected,
    Content,
    Done,
    End,
    Entries,
    Entry,
    Get,
    List,
    Outcomes,
    Policy,
    Prove,
    Put,
    Refused,
    Register,
    Registered,
    Remove,
    Rename,
    Request4,
    Response4,
    Segment,
    Stat,
    Stored,
    Ticket,
    pack_head,
    pack_message,
)
from protocol.names import check_path

_MAX_REQUEST_ID = (1 << 32) - 1
_LAST_WORD_SECONDS = 5.0

R = TypeVar("R", bound=Response4)
C = TypeVar("C", Content, Done)


class Channel(Protocol):
    """A connection, seen as messages; see `client.channel4.Channel4`."""

    def send(self, *parts: Buffer) -> None:
        """Hands over all parts."""

    def receive(self) -> Answer:
        """The next answer."""

    def has_answer(self, within: float = 0.0) -> bool:
        """Whether the next answer is there already, or comes within so many seconds."""


class Data(Protocol):
    """A data connection; see `client.datachannel.DataChannel`."""

    @property
    def ended(self) -> bool:
        """Whether the server has ended it."""

    def send(self, *parts: Buffer) -> None:
        """Hands over all parts."""

    def receive(self, kind: type[C]) -> C:
        """The next message, of this kind."""


class Access(NamedTuple):
    """What a connection that was let in has: who signs receipts for whom, and the secret."""

    signer: Signer
    secret: bytes

    def __repr__(self) -> str:
        return f"Access({self.signer!r})"  # the secret is not to get into logs

    def content_key(self, salt: bytes, direction: Direction, upload_id: bytes) -> ContentKey:
        """The key of one content of this connection."""
        return ContentKey(self.secret, salt, direction, self.signer.client_id, upload_id)

    def seal_files(self, salt: bytes, table: bytes, content: Buffer) -> bytes:
        """The content of the small files in one *put*, whose salt this is."""
        return seal_files(self.secret, salt, self.signer.client_id, table, content)


def new_salt() -> bytes:
    """For one *begin*, *put* or *get*, and never for a second one."""
    return os.urandom(SALT_BYTES)


class Session4:
    """One connection's conversation.

    Every method raises `ConnectionFailed`, `BrokenProtocol`, and the errors of `client.refusals`.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last_id = 0
        self._awaited: deque[int] = deque()
        self._segment_ids = range(0)
        self._data: Data | None = None

    def register(self, name: str, token: str, public_key: bytes) -> bytes:
        """The 16-byte id of the new client; raises `NameTaken`, `AccessDenied`."""
        return self._ask(Register(name, token, public_key), Registered).client_id

    def connect(self, identity: Identity4, fingerprint: bytes) -> Access:
        """Proves who this client is to the server that showed the certificate `fingerprint`.

        Raises `AccessDenied`.
        """
        challenge = self._ask(Connect(identity.client_id), Challenge)
        secret, proof = open_challenge(
            identity.private_key, challenge.encrypted_secret, fingerprint, identity.client_id
        )
        connected = self._ask(Prove(proof), Connected)
        return Access(Signer(connected.receipt_key, identity.client_id, connected.name), secret)

    def attach(self) -> bytes:
        """A ticket for a data connection."""
        return self._ask(Attach(), Ticket).ticket

    def use_data(self, data: Data | None) -> None:
        """From now on content travels on this data connection, which the server has accepted."""
        self._data = data

    def begin(self, begin: Begin) -> int | Stored:
        """The offset at which to go on, or the receipt of an upload that is complete already.

        Raises `FileUnusable` where the protocol cannot tell of the file, as after the year 2262.
        """
        try:
            begin.pack()
        except ProtocolError as error:
            raise FileUnusable(f"{begin.name!r} cannot be sent: {error}") from error
        answer = self._answer_to(self._send(begin))
        match answer:
            case Begun(offset):
                if begin.size is not None and offset >= max(begin.size, 1):
                    raise BrokenProtocol("the server asks for content from beyond its end")
                self._segment_ids = range(0)
                return offset
            case Stored():
                return answer
        raise _unexpected(answer)

    def segment(self, segment: Segment) -> None:
        """Sends one, without waiting; what an earlier one was refused for is raised here."""
        if self._data is not None:
            self._send_segment(self._data, segment)
            return
        if self._channel.has_answer():
            self._judge_unasked(self._channel.receive())
        request_id = self._new_id()
        first = self._segment_ids.start or request_id
        self._segment_ids = range(first, request_id + 1)
        self._transmit(pack_head(segment, request_id), segment.sealed)

    def _send_segment(self, data: Data, segment: Segment) -> None:
        try:
            if not data.ended:
                data.send(pack_head(segment, self._new_id()), segment.sealed)
                return
        except ServerSilent:
            raise
        except ConnectionLost:
            pass  # the server may have ended it for a reason
        self.end(End(segment.upload_id, 0, bytes(32)))
        raise BrokenProtocol("the server stored an upload that was not complete")

    def end(self, end: End) -> Stored:
        """All segments are sent: the receipt, not yet checked."""
        return self._ask(end, Stored)

    def post(self, put: Put) -> None:
        """Sends small files without waiting; `posted` is to be called for each *put*, in order."""
        request_id = self._new_id()
        self._awaited.append(request_id)
        self._transmit(pack_head(put, request_id), put.sealed)

    def posted(self) -> Outcomes:
        """What became of the oldest *put* that waits for it, not yet checked."""
        return _expect(Outcomes, self._answer_to(self._awaited[0]))

    def has_posted(self) -> bool:
        """Whether `posted` would not wait."""
        return self._channel.has_answer()

    def abandon(self, upload_id: bytes) -> None:
        """Gives an interrupted upload up."""
        self._ask(Abandon(upload_id), Done)

    def list_page(self, prefix: str, after: str, limit: int) -> Entries:
        """Entries whose names begin with `prefix` and sort behind `after`, their names checked."""
        page = self._ask(List(prefix, after, limit), Entries)
        previous = after.encode()
        for entry in page.entries:
            name = _checked_name(entry).encode()
            if name <= previous or not name.startswith(prefix.encode()):
                raise BrokenProtocol("the server lists names that were not asked for")
            previous = name
        if len(page.entries) > limit or (page.more and not page.entries):
            raise BrokenProtocol("the server lists too many names, or none of further ones")
        return page

    def stat(self, name: str) -> Entry:
        """One file's entry; raises `NotFound`."""
        return _about(name, self._ask(Stat(name), Entry))

    def get(self, get: Get) -> tuple[Entry, Iterator[Content]]:
        """One file's entry, and its segments, which are to be taken to the end.

        Their places and sizes are those that the entry's size asks for; they are not opened, and
        each is valid until the next one.
        """
        request_id = self._send(get)
        self._awaited.popleft()
        entry = _about(get.name, _expect(Entry, self._matching(request_id)))
        if get.offset >= max(entry.size, 1):
            raise BrokenProtocol("the server sends content from beyond its end")
        return entry, self._contents(request_id, get.offset, entry.size)

    def remove(self, name: str) -> None:
        """Removes a file; raises `NotFound`."""
        self._ask(Remove(name), Done)

    def rename(self, old: str, new: str, policy: Policy) -> None:
        """Renames a file; raises `NotFound` and, with `Policy.NEVER`, `Exists`."""
        self._ask(Rename(policy, old, new), Done)

    def _contents(self, request_id: int, offset: int, size: int) -> Iterator[Content]:
        count = segment_count(size)
        for index in range(segment_count(offset + 1) - 1, count):
            content = self._next_content(request_id)
            start, end = segment_span(index, size)
            found = (content.index, content.final, len(content.sealed))
            if found != (index, index == count - 1, end - start + TAG_BYTES):
                if self._data is not None:  # where anybody may have altered it
                    raise ConnectionLost("the data connection was disturbed")
                raise BrokenProtocol(f"the server sends another segment than {index}")
            yield content

    def _next_content(self, request_id: int) -> Content:
        if self._data is None:
            return _expect(Content, self._matching(request_id))
        try:
            return self._data.receive(Content)
        except ServerSilent:
            raise
        except ConnectionLost:
            # A server that cannot go on ends the data connection and says why on this one.
            if self._channel.has_answer(_LAST_WORD_SECONDS):
                self._matching(request_id)
            raise

    def _ask(self, request: Request4, kind: type[R]) -> R:
        return _expect(kind, self._answer_to(self._send(request)))

    def _send(self, request: Request4) -> int:
        request_id = self._new_id()
        try:
            message = pack_message(request, request_id)
        except ProtocolError as error:
            raise BadInput("request", str(error), "correct it") from error
        self._awaited.append(request_id)
        self._transmit(message)
        return request_id

    def _transmit(self, *parts: Buffer) -> None:
        try:
            self._channel.send(*parts)
        except ServerSilent:
            raise
        except ConnectionLost as error:
            parting = self._parting_words()
            if parting is not None:
                raise parting from error
            raise

    def _parting_words(self) -> ClientError | None:
        """Why the server has hung up, if it said so before it did."""
        try:
            while True:
                match self._channel.receive()[1]:
                    case Refused() as refused if refused.reason.closes:
                        return refusal(refused)
        except (ConnectionLost, BrokenProtocol):
            return None

    def _answer_to(self, request_id: int) -> Response4:
        """The answer to a request that is the oldest without one."""
        if self._awaited.popleft() != request_id:
            raise RuntimeError("answers come in the order of the requests")
        return self._matching(request_id)

    def _matching(self, request_id: int) -> Response4:
        while True:
            answer = self._channel.receive()
            if answer[0] == request_id:
                if isinstance(answer[1], Refused):
                    raise refusal(answer[1])
                return answer[1]
            if not self._is_about_segment(answer):
                self._judge_unasked(answer)

    def _is_about_segment(self, answer: Answer) -> bool:
        """A refused segment: the *end* behind it is answered with the same reason."""
        request_id, message = answer
        return (
            request_id in self._segment_ids
            and isinstance(message, Refused)
            and not message.reason.closes
        )

    def _judge_unasked(self, answer: Answer) -> None:
        request_id, message = answer
        if isinstance(message, Refused) and (
            message.reason.closes or request_id in self._segment_ids
        ):
            raise refusal(message)
        raise _unexpected(message)

    def _new_id(self) -> int:
        self._last_id = self._last_id % _MAX_REQUEST_ID + 1
        return self._last_id


def _expect(kind: type[R], answer: Response4) -> R:
    if not isinstance(answer, kind):
        raise _unexpected(answer)
    return answer


def _unexpected(answer: Response4) -> BrokenProtocol:
    return BrokenProtocol(f"the server sent {type(answer).__name__} out of turn")


def _about(name: str, entry: Entry) -> Entry:
    if entry.name != name:
        raise BrokenProtocol("the server answers for another file than the one asked for")
    return entry


def _checked_name(entry: Entry) -> str:
    try:
        check_path(entry.name)
    except UnsafeName as error:
        raise BrokenProtocol(f"the server lists a name that cannot be: {error}") from error
    return entry.name
