"""Messages of protocol 4 of every class, each with its code and its payload written as hex."""

from typing import Any, TypeVar

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
    Reason,
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
)
from protocol.records import Record

ID_HEX = "000102030405060708090a0b0c0d0eff"
R = TypeVar("R", bound=Record)

ID = b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff"
SALT = b"\x51" + b"\xaa" * 30 + b"\x52"
SALT_HEX = "51" + "aa" * 30 + "52"
HASH = b"\x61" + b"\xbb" * 30 + b"\x62"
HASH_HEX = "61" + "bb" * 30 + "62"
TAG = b"\x71" + b"\xcc" * 14 + b"\x72"
TAG_HEX = "71" + "cc" * 14 + "72"
SIGNATURE = b"\xd1" + b"\xdd" * 62 + b"\xde"
SIGNATURE_HEX = "d1" + "dd" * 62 + "de"
FULL = b"\x81" * 1048592
SEALED_SMALL = b"\x91" * 1_048_592

_A = "0100" + "61"
_PATH = "0700" + "612f622e747874"  # a/b.txt
_SHALOM = "0800" + "d7a9d79cd795d79d"

ENTRY = Entry(ID, 0x0102030405060708, -2, 0o4755, 1, HASH, 0x01020304, "a/b.txt")
ENTRY_HEX = (
    ID_HEX + "0807060504030201" + "feffffffffffffff" + "ed09" + "0100000000000000"
    "01" + HASH_HEX + "04030201" + "01" + _PATH
)
BARE_ENTRY = Entry(ID, 0, 0, 0, -1, None, None, "a")
BARE_ENTRY_HEX = (
    ID_HEX + "0000000000000000" + "0000000000000000" + "0000" + "ffffffffffffffff"
    "00" + "00" * 32 + "00000000" + "00" + _A
)

REQUESTS: tuple[tuple[int, Request4, str], ...] = (
    (1, Register("a", "t-_", b"\x30\x82"), _A + "0300" + "742d5f" + "0200" + "3082"),
    (1, Register("\u05e9\u05dc\u05d5\u05dd", "", b""), _SHALOM + "0000" + "0000"),
    (1, Register("x" * 255, "", b"\x30"), "ff00" + "78" * 255 + "0000" + "0100" + "30"),
    (2, Connect(ID), ID_HEX),
    (3, Prove(HASH), HASH_HEX),
    (
        16,
        Begin(ID, SALT, 0x0102030405060708, 0x1112131415161718, 0o644, Policy.IF_OLDER, "a/b.txt"),
        ID_HEX + SALT_HEX + "0807060504030201" + "1817161514131211" + "a401" + "01" + _PATH,
    ),
    (
        16,
        Begin(ID, SALT, None, -1, 0o7777, Policy.ALWAYS, "a"),
        ID_HEX + SALT_HEX + "ffffffffffffffff" + "ffffffffffffffff" + "ff0f" + "02" + _A,
    ),
    (
        16,
        Begin(ID, SALT, 2**63 - 1, -(2**63), 0, Policy.NEVER, ""),
        ID_HEX + SALT_HEX + "ffffffffffffff7f" + "0000000000000080" + "0000" + "00" + "0000",
    ),
    (17, Segment(ID, 0, True, TAG), ID_HEX + "0000000000000000" + "01" + TAG_HEX),
    (17, Segment(ID, 1, True, b"\x09" + TAG), ID_HEX + "0100000000000000" + "01" + "09" + TAG_HEX),
    (17, Segment(ID, 0x010203, False, FULL), ID_HEX + "0302010000000000" + "00" + "81" * 1048592),
    (17, Segment(ID, 0, True, FULL), ID_HEX + "0000000000000000" + "01" + "81" * 1048592),
    (18, End(ID, 0x0102030405060708, HASH), ID_HEX + "0807060504030201" + HASH_HEX),
    (
        19,
        Put(SALT, b"\x05\x06", b"\x09" + TAG),
        SALT_HEX + "0200" + "0506" + "09" + TAG_HEX,
    ),
    (
        19,
        Put(SALT, b"\x05", SEALED_SMALL),
        SALT_HEX + "0100" + "05" + "91" * 1_048_592,
    ),
    (20, Abandon(ID), ID_HEX),
    (21, Attach(), ""),
    (32, List("a", "a/b.txt", 1), _A + _PATH + "0100"),
    (32, List("", "", 1000), "0000" + "0000" + "e803"),
    (33, Stat("a/b.txt"), _PATH),
    (34, Get(SALT, 0, "a"), SALT_HEX + "0000000000000000" + _A),
    (34, Get(SALT, 3 * 1048576, "a"), SALT_HEX + "0000300000000000" + _A),
    (35, Remove("a/b.txt"), _PATH),
    (36, Rename(Policy.ALWAYS, "a", "a/b.txt"), "02" + _A + _PATH),
    (36, Rename(Policy.NEVER, "a/b.txt", "a"), "00" + _PATH + _A),
)
RESPONSES: tuple[tuple[int, Response4, str], ...] = (
    (32769, Registered(ID), ID_HEX),
    (32770, Challenge(b"\xee" * 383 + b"\xef"), "8001" + "ee" * 383 + "ef"),
    (
        32771,
        Connected(HASH, 0x0102030405060708, "a"),
        HASH_HEX + "0807060504030201" + _A,
    ),
    (32784, Begun(0), "0000000000000000"),
    (32784, Begun(2**63 - 1048576), "0000f0ffffffff7f"),
    (32787, Outcomes(-2, SIGNATURE, b"\0"), "feffffffffffffff" + SIGNATURE_HEX + "00"),
    (
        32786,
        Stored(b"\x09\x08", 0, 1, (), SIGNATURE),
        "0200" + "0908" + "0000" + "0100" + "00" + SIGNATURE_HEX,
    ),
    (
        32786,
        Stored(b"\x09\x08", 0x0102, 0x0304, (HASH, SALT), SIGNATURE),
        "0200" + "0908" + "0201" + "0403" + "02" + HASH_HEX + SALT_HEX + SIGNATURE_HEX,
    ),
    (
        32786,
        Stored(b"", 65534, 65535, (HASH,) * 16, SIGNATURE),
        "0000" + "feff" + "ffff" + "10" + HASH_HEX * 16 + SIGNATURE_HEX,
    ),
    (32789, Ticket(SALT), SALT_HEX),
    (32800, Entries(False, ()), "00" + "0000"),
    (32800, Entries(True, (ENTRY, BARE_ENTRY)), "01" + "0200" + ENTRY_HEX + BARE_ENTRY_HEX),
    (32801, ENTRY, ENTRY_HEX),
    (32801, BARE_ENTRY, BARE_ENTRY_HEX),
    (32802, Content(0, True, TAG), "0000000000000000" + "01" + TAG_HEX),
    (32802, Content(0x0203, False, FULL), "0302000000000000" + "00" + "81" * 1048592),
    (32803, Done(), ""),
    (33023, Refused(Reason.SERVER_FULL, 0x01020304, "a"), "0a00" + "04030201" + _A),
    (33023, Refused(Reason.PROTOCOL, 0, ""), "0100" + "00000000" + "0000"),
)
SMALL_REQUESTS = tuple(sample for sample in REQUESTS if len(sample[2]) < 1000)
SMALL_RESPONSES = tuple(sample for sample in RESPONSES if len(sample[2]) < 1000)


def label(value: object) -> str:
    """A parameter's part of a test's name: a message's class, the beginning of long values."""
    return type(value).__name__ if isinstance(value, Request4 | Response4) else str(value)[:24]


def message_hex(code: int, payload: str, request_id: str = "04030201") -> str:
    """A whole message by hand; the request id is 0x01020304 unless given."""
    code_hex = f"{code & 0xFF:02x}{code >> 8:02x}"
    size = len(payload) // 2
    size_hex = "".join(f"{size >> shift & 0xFF:02x}" for shift in (0, 8, 16, 24))
    return "04" + code_hex + request_id + size_hex + payload


def replace(record: R, **changes: Any) -> R:  # noqa: ANN401 - values of any field
    """The same record with other values of these fields, as of a dataclass."""
    return record.__replace__(**changes)
