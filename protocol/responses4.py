"""The responses of protocol 4, server to client (sections 3 to 8 of docs/protocol-4.md).

Their codes, and how to put one on the wire, are in `protocol.messages4`. File names are only
checked to be text here: a receiver passes them to `protocol.names.check_path`.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar, Self

from protocol.contexts import SEGMENT_BYTES, TAG_BYTES, TICKET_BYTES, check_segment_size
from protocol.fields import (
    FLAG,
    I64,
    U16,
    U32,
    U64,
    Blob,
    Buffer,
    Enumerated,
    Exact,
    Flagged,
    Hashes,
    Number,
    Remainder,
    Rest,
    Text,
)
from protocol.header import MAX_PAYLOAD_BYTES
from protocol.records import Layout, Record, Records
from protocol.requests4 import (
    CLIENT_ID,
    CLIENT_NAME,
    MAX_LISTED,
    MODE,
    NAME,
    OFFSET,
    SHA256,
    SIZE,
    UPLOAD_ID,
)

CHALLENGE_BYTES = 384
RECEIPT_KEY_BYTES = 32
SIGNATURE_BYTES = 64

RECEIPT_KEY = Exact(RECEIPT_KEY_BYTES)


class Reason(IntEnum):
    """Why a request was refused (section 8)."""

    PROTOCOL = 1
    ACCESS_DENIED = 2
    TOO_MANY_ATTEMPTS = 3
    NAME_TAKEN = 4
    UNSAFE_NAME = 5
    EXISTS = 6
    NOT_FOUND = 7
    QUOTA = 8
    TOO_LARGE = 9
    SERVER_FULL = 10
    BAD_SEGMENT = 11
    DIGEST_MISMATCH = 12
    UNKNOWN_UPLOAD = 13
    SERVER_FAILED = 14
    SHUTTING_DOWN = 15

    @property
    def closes(self) -> bool:
        """Whether the server closes the connection after it."""
        return self in _CLOSING


_CLOSING = frozenset(
    (
        Reason.PROTOCOL,
        Reason.ACCESS_DENIED,
        Reason.TOO_MANY_ATTEMPTS,
        Reason.BAD_SEGMENT,
        Reason.SHUTTING_DOWN,
    )
)


class Registered(Record):
    """The client is registered under this 16-byte id."""

    client_id: bytes

    LAYOUT: ClassVar[Layout] = Layout(CLIENT_ID)


class Challenge(Record):
    """The connection's secret under the client's RSA key (section 3.2)."""

    encrypted_secret: bytes

    LAYOUT: ClassVar[Layout] = Layout(Blob(CHALLENGE_BYTES, CHALLENGE_BYTES))


class Connected(Record):
    """The client is who it says: the server's Ed25519 key, its time in seconds, the client's name.

    Receipts of this server are verified with `receipt_key`.
    """

    receipt_key: bytes
    server_time: int
    name: str

    LAYOUT: ClassVar[Layout] = Layout(RECEIPT_KEY, U64, CLIENT_NAME)


class Begun(Record):
    """The client goes on at `offset`, in bytes, a multiple of a segment."""

    offset: int

    LAYOUT: ClassVar[Layout] = Layout(OFFSET)


class Stored(Record):
    """The file is durable: its receipt.

    `body` is a packed `protocol.receipts.ReceiptBody`, not looked into here. It is leaf `index` of
    the `count` leaves of a Merkle tree, to whose root `path` leads; `signature` is Ed25519 over
    `protocol.receipts.signed_bytes`.
    """

    body: bytes
    index: int
    count: int
    path: tuple[bytes, ...]
    signature: bytes

    LAYOUT: ClassVar[Layout] = Layout(
        Blob(), U16, Number(2, least=1), Hashes(), Exact(SIGNATURE_BYTES)
    )


class Outcomes(Record):
    """What became of the files of a *put*, in their order.

    `table` is not looked into here: see `protocol.smallfiles`. Those of them that are stored now
    were `received` at this time, in seconds since 1970 UTC, and their receipts are the leaves of
    the tree that `signature` covers; without any both are 0.
    """

    received: int
    signature: bytes
    table: bytes

    LAYOUT: ClassVar[Layout] = Layout(
        I64, Exact(SIGNATURE_BYTES), Remainder(1, SEGMENT_BYTES), max_bytes=MAX_PAYLOAD_BYTES
    )


class Ticket(Record):
    """Opens one data connection (section 1.2)."""

    ticket: bytes

    HIDDEN: ClassVar[tuple[str, ...]] = ("ticket",)
    LAYOUT: ClassVar[Layout] = Layout(Exact(TICKET_BYTES))


class Entry(Record):
    """One file; also the response *entry*.

    `size` is in bytes, `modified` in nanoseconds and `received` in seconds since 1970 UTC;
    `sha256` and `cksum` (POSIX) are None where the server has not computed them.
    """

    upload_id: bytes
    size: int
    modified: int
    mode: int
    received: int
    sha256: bytes | None
    cksum: int | None
    name: str

    LAYOUT: ClassVar[Layout] = Layout(
        UPLOAD_ID,
        SIZE,
        I64,
        MODE,
        I64,
        Flagged(SHA256, flag_first=True),
        Flagged(U32, flag_first=False),
        NAME,
    )


class Entries(Record):
    """Some of the files asked for, in the order of their names; `more` when there are others."""

    more: bool
    entries: tuple[Entry, ...]

    LAYOUT: ClassVar[Layout] = Layout(FLAG, Records(Entry, MAX_LISTED))

    @classmethod
    def page(cls, candidates: Iterable[Entry], limit: int) -> Self:
        """As many of the candidates as `limit` and the size of a payload allow.

        At least one of them, if there is any and its name is one that `check_path` accepts.
        """
        taken: list[Entry] = []
        left = cls.LAYOUT.max_bytes - cls.LAYOUT.min_bytes
        for entry in candidates:
            left -= len(entry.pack())
            if left < 0 or len(taken) == limit:
                return cls(more=True, entries=tuple(taken))
            taken.append(entry)
        return cls(more=False, entries=tuple(taken))


class Content(Record):
    """One sealed segment of a download; `BadSegment` when its size does not fit its place."""

    index: int
    final: bool
    sealed: Buffer

    HIDDEN: ClassVar[tuple[str, ...]] = ("sealed",)
    LAYOUT: ClassVar[Layout] = Layout(
        U64, FLAG, Rest(TAG_BYTES, SEGMENT_BYTES + TAG_BYTES), max_bytes=MAX_PAYLOAD_BYTES
    )

    def check(self) -> None:
        check_segment_size(self.index, len(self.sealed), final=self.final)


class Done(Record):
    """It is done."""

    LAYOUT: ClassVar[Layout] = Layout()


class Refused(Record):
    """The request was not carried out.

    `retry_after` is in seconds, 0 where a retry is not worth it; `text` is for people and comes
    from the peer: to be escaped before a terminal sees it.
    """

    reason: Reason
    retry_after: int
    text: str

    LAYOUT: ClassVar[Layout] = Layout(Enumerated(U16, Reason), U32, Text())


Response4 = (
    Registered
    | Challenge
    | Connected
    | Begun
    | Stored
    | Outcomes
    | Ticket
    | Entries
    | Entry
    | Content
    | Done
    | Refused
)
