"""The requests of protocol 4, client to server (sections 3 to 6 of docs/protocol-4.md).

Their codes, and how to put one on the wire, are in `protocol.messages4`. File names are only
checked to be text here: a receiver passes them to `protocol.names.check_path`.
"""

from enum import IntEnum
from typing import ClassVar

from protocol.contexts import (
    MAX_CONTENT_BYTES,
    PROOF_BYTES,
    SALT_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    UPLOAD_ID_BYTES,
    check_segment_size,
)
from protocol.fields import (
    FLAG,
    I64,
    U8,
    U64,
    Blob,
    Buffer,
    Enumerated,
    Exact,
    Field,
    Number,
    Reader,
    Rest,
    Text,
)
from protocol.header import CLIENT_ID_BYTES, MAX_PAYLOAD_BYTES
from protocol.names import NAME_BYTES
from protocol.records import Layout, Record

MAX_LISTED = 1000
"""The most entries that one *list* asks for."""

SHA256 = Exact(32)
CLIENT_ID = Exact(CLIENT_ID_BYTES)
UPLOAD_ID = Exact(UPLOAD_ID_BYTES)
SALT = Exact(SALT_BYTES)
CLIENT_NAME = Text(1, NAME_BYTES)
NAME = Text()
SIZE = Number(8, most=MAX_CONTENT_BYTES)
OFFSET = Number(8, most=MAX_CONTENT_BYTES, step=SEGMENT_BYTES)
MODE = Number(2, most=0o7777)


class Policy(IntEnum):
    """What becomes of a file that has the new one's name already."""

    NEVER = 0
    """It stays; the new one is refused (*exists*)."""
    IF_OLDER = 1
    """It is replaced when its modification time is the older one."""
    ALWAYS = 2


class _SizeOrUnknown(Field[int | None]):
    _UNKNOWN = 2**64 - 1

    def __init__(self) -> None:
        super().__init__(8, 8)

    def write(self, value: int | None) -> bytes:
        return U64.write(self._UNKNOWN) if value is None else SIZE.write(value)

    def read(self, reader: Reader) -> int | None:
        data = reader.take(8)
        return None if U64.read(Reader(data)) == self._UNKNOWN else SIZE.read(Reader(data))


class Register(Record):
    """Asks for a client id; `token` is empty where registration is open.

    `public_key` is DER SubjectPublicKeyInfo; whether it is RSA of 3072 bits is not checked here.
    """

    name: str
    token: str
    public_key: bytes

    HIDDEN: ClassVar[tuple[str, ...]] = ("token",)
    LAYOUT: ClassVar[Layout] = Layout(CLIENT_NAME, Text(), Blob())


class Connect(Record):
    """Asks for a challenge."""

    client_id: bytes

    LAYOUT: ClassVar[Layout] = Layout(CLIENT_ID)


class Prove(Record):
    """The 32-byte proof that the challenge was opened."""

    proof: bytes

    LAYOUT: ClassVar[Layout] = Layout(Exact(PROOF_BYTES))


class Begin(Record):
    """Opens an attempt at an upload, the first one or a resumed one.

    `size` is in bytes, None where it is not known beforehand; `modified` in nanoseconds since
    1970 UTC; `mode` permission bits only.
    """

    upload_id: bytes
    salt: bytes
    size: int | None
    modified: int
    mode: int
    policy: Policy
    name: str

    LAYOUT: ClassVar[Layout] = Layout(
        UPLOAD_ID, SALT, _SizeOrUnknown(), I64, MODE, Enumerated(U8, Policy), NAME
    )


class Segment(Record):
    """One sealed segment, counted from 0; `BadSegment` when its size does not fit its place."""

    upload_id: bytes
    index: int
    final: bool
    sealed: Buffer

    HIDDEN: ClassVar[tuple[str, ...]] = ("sealed",)
    LAYOUT: ClassVar[Layout] = Layout(
        UPLOAD_ID,
        U64,
        FLAG,
        Rest(TAG_BYTES, SEGMENT_BYTES + TAG_BYTES),
        max_bytes=MAX_PAYLOAD_BYTES,
    )

    def check(self) -> None:
        check_segment_size(self.index, len(self.sealed), final=self.final)


class End(Record):
    """All segments were sent: size in bytes and SHA-256 of the whole content as it was read."""

    upload_id: bytes
    size: int
    sha256: bytes

    LAYOUT: ClassVar[Layout] = Layout(UPLOAD_ID, SIZE, SHA256)


class Put(Record):
    """Whole files of at most 524,288 bytes each, their content sealed together.

    `table` describes them and is not looked into here: see `protocol.smallfiles`.
    """

    salt: bytes
    table: bytes
    sealed: Buffer

    HIDDEN: ClassVar[tuple[str, ...]] = ("sealed",)
    LAYOUT: ClassVar[Layout] = Layout(
        SALT,
        Blob(least=1),
        Rest(TAG_BYTES, SEGMENT_BYTES + TAG_BYTES),
        max_bytes=MAX_PAYLOAD_BYTES,
    )


class Abandon(Record):
    """Gives an interrupted upload up."""

    upload_id: bytes

    LAYOUT: ClassVar[Layout] = Layout(UPLOAD_ID)


class Attach(Record):
    """Asks for a ticket, with which a data connection is opened (section 1.2)."""

    LAYOUT: ClassVar[Layout] = Layout()


class List(Record):
    """Asks for at most `limit` entries whose names begin with `prefix` and sort behind `after`."""

    prefix: str
    after: str
    limit: int

    LAYOUT: ClassVar[Layout] = Layout(NAME, NAME, Number(2, least=1, most=MAX_LISTED))


class Stat(Record):
    """Asks for one file's entry."""

    name: str

    LAYOUT: ClassVar[Layout] = Layout(NAME)


class Get(Record):
    """Asks for a file's content from `offset`, in bytes, a multiple of a segment."""

    salt: bytes
    offset: int
    name: str

    LAYOUT: ClassVar[Layout] = Layout(SALT, OFFSET, NAME)


class Remove(Record):
    """Asks that a file be removed."""

    name: str

    LAYOUT: ClassVar[Layout] = Layout(NAME)


class Rename(Record):
    """Asks that a file get another name; the policy is `NEVER` or `ALWAYS`."""

    policy: Policy
    old_name: str
    new_name: str

    LAYOUT: ClassVar[Layout] = Layout(Enumerated(U8, (Policy.NEVER, Policy.ALWAYS)), NAME, NAME)


Request4 = (
    Register
    | Connect
    | Prove
    | Begin
    | Segment
    | End
    | Put
    | Abandon
    | Attach
    | List
    | Stat
    | Get
    | Remove
    | Rename
)
