"""The messages of protocol 4: their bytes, their codes, and what is refused."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import BadSegment, ProtocolError
from protocol.messages4 import (
    CODES,
    REQUESTS,
    RESPONSES,
    Begin,
    Begun,
    Challenge,
    Connect,
    Connected,
    Content,
    End,
    Entries,
    Entry,
    Get,
    List,
    Outcomes,
    Policy,
    Put,
    Reason,
    Refused,
    Register,
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
from protocol.records import Record
from tests.protocol import samples4, strategies4
from tests.protocol.samples4 import (
    BARE_ENTRY,
    BARE_ENTRY_HEX,
    ENTRY,
    ENTRY_HEX,
    FULL,
    HASH,
    HASH_HEX,
    ID,
    ID_HEX,
    SALT,
    SALT_HEX,
    SEALED_SMALL,
    SIGNATURE,
    SIGNATURE_HEX,
    TAG,
    TAG_HEX,
    replace,
)

MESSAGES = samples4.REQUESTS + samples4.RESPONSES
TYPES: dict[int, type[Record]] = {**REQUESTS, **RESPONSES}
REQUEST_ID = 0x01020304
BEGIN = Begin(ID, SALT, 5, 0, 0o644, Policy.NEVER, "a")
PUT = Put(SALT, b"table", TAG)
BEGIN_HEAD = ID_HEX + SALT_HEX
_ZERO8 = "0000000000000000"

every_message = pytest.mark.parametrize(
    ("code", "message", "payload"), MESSAGES, ids=samples4.label
)


@every_message
def test_a_message_is_these_bytes(code: int, message: Request4 | Response4, payload: str) -> None:
    assert message.pack().hex() == payload
    assert TYPES[code].unpack(bytes.fromhex(payload)) == message
    assert TYPES[code].unpack(memoryview(bytearray.fromhex(payload))) == message


@every_message
def test_a_whole_message_is_a_header_and_these_bytes(
    code: int, message: Request4 | Response4, payload: str
) -> None:
    assert pack_message(message, REQUEST_ID).hex() == samples4.message_hex(code, payload)
    assert CODES[type(message)] == code


def test_there_is_a_sample_of_every_code_and_one_code_for_every_message() -> None:
    assert {code for code, _, _ in samples4.REQUESTS} == set(REQUESTS)
    assert {code for code, _, _ in samples4.RESPONSES} == set(RESPONSES)
    assert {code: message for message, code in CODES.items()} == TYPES


@pytest.mark.parametrize("message", [message for _, message, _ in MESSAGES], ids=samples4.label)
def test_messages_are_frozen_and_hold_nothing_else(message: Request4 | Response4) -> None:
    assert tuple(vars(message)) == message.__match_args__
    for name in (*message.__match_args__, "other"):
        with pytest.raises(AttributeError):
            setattr(message, name, None)
        with pytest.raises(AttributeError):
            delattr(message, name)


def test_records_are_equal_when_their_kind_and_fields_are() -> None:
    assert Stat("a") == Stat(name="a")
    assert Stat("a") != Stat("b")
    assert Stat("a") != Remove("a")
    assert Stat("a") != "a"
    assert len({Stat("a"), Stat("a"), Remove("a"), End(ID, 1, HASH), End(ID, 1, sha256=HASH)}) == 3
    assert repr(End(ID, 1, b"x")) == f"End(upload_id={ID!r}, size=1, sha256=b'x')"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((), {}),
        ((ID, 1), {}),
        ((ID, 1, HASH, HASH), {}),
        ((ID, 1), {"other": HASH}),
        ((ID, 1, HASH), {"sha256": HASH}),
        ((ID,), {"sha256": HASH}),
        ((), {"size": 1, "sha256": HASH}),
    ],
)
def test_a_record_is_made_of_all_its_fields_and_nothing_else(
    values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="fields"):
        End(*values, **named)


def test_a_payload_is_of_these_sizes() -> None:
    assert {
        message.__name__: (message.LAYOUT.min_bytes, message.LAYOUT.max_bytes)
        for message in TYPES.values()
    } == {
        "Register": (7, 65536),
        "Connect": (16, 16),
        "Prove": (32, 32),
        "Begin": (69, 65536),
        "Segment": (41, 1048617),
        "End": (56, 56),
        "Put": (51, 1049600),
        "Abandon": (16, 16),
        "Attach": (0, 0),
        "List": (6, 65536),
        "Stat": (2, 65536),
        "Get": (42, 65536),
        "Remove": (2, 65536),
        "Rename": (5, 65536),
        "Registered": (16, 16),
        "Challenge": (386, 386),
        "Connected": (43, 297),
        "Begun": (8, 8),
        "Stored": (71, 65536),
        "Outcomes": (73, 1048648),
        "Ticket": (32, 32),
        "Entries": (3, 65536),
        "Entry": (82, 65536),
        "Content": (25, 1048601),
        "Done": (0, 0),
        "Refused": (8, 65536),
    }


@pytest.mark.parametrize(
    ("code", "message", "payload"),
    [sample for sample in MESSAGES if isinstance(sample[1], Segment | Put | Content)],
    ids=samples4.label,
)
def test_a_head_is_the_message_without_its_sealed_content(
    code: int, message: Segment | Put | Content, payload: str
) -> None:
    sealed = bytearray(message.sealed)
    head = pack_head(replace(message, sealed=memoryview(sealed)), REQUEST_ID)
    assert head + sealed == bytes.fromhex(samples4.message_hex(code, payload))


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Segment, ID_HEX + _ZERO8 + "01" + "09" + TAG_HEX),
        (Content, _ZERO8 + "01" + "09" + TAG_HEX),
        (Put, SALT_HEX + "0100" + "00" + "09" + TAG_HEX),
    ],
)
def test_sealed_content_is_unpacked_without_a_copy(
    kind: type[Segment | Content | Put], payload: str
) -> None:
    data = bytearray.fromhex(payload)
    message = kind.unpack(memoryview(data))
    assert message.sealed == b"\x09" + TAG
    data[-1] ^= 1
    assert isinstance(message.sealed, memoryview)
    assert message.sealed.obj is data


def test_neither_token_nor_ticket_nor_content_is_shown() -> None:
    assert "secret" not in repr(Register("a", "secret", b""))
    assert "secret" not in repr(Ticket(b"secret"))
    assert "secret" not in repr(replace(PUT, sealed=b"secret"))
    assert "secret" not in repr(Segment(ID, 0, True, b"secret"))
    assert "secret" not in repr(Content(0, True, b"secret"))


@strategies4.many
@given(strategies4.requests | strategies4.responses)
def test_what_was_packed_is_unpacked(message: Request4 | Response4) -> None:
    packed = message.pack()
    assert type(message).unpack(packed) == message
    layout = message.LAYOUT
    assert layout.min_bytes <= len(packed) <= layout.max_bytes


@pytest.mark.parametrize(
    ("message", "payload"),
    [sample[1:] for sample in samples4.SMALL_REQUESTS + samples4.SMALL_RESPONSES],
    ids=samples4.label,
)
def test_a_payload_that_is_cut_or_followed_by_more_is_never_the_same_message(
    message: Request4 | Response4, payload: str
) -> None:
    data = bytes.fromhex(payload)
    sealed = isinstance(message, Segment | Put | Content)
    if isinstance(message, Outcomes):
        return  # whether its table is whole, only who sent the files knows: see test_smallfiles
    for size in range(len(data)):
        if sealed and size >= len(data) - len(TAG):
            continue  # what is left can be sealed content as well
        with pytest.raises(ProtocolError):
            type(message).unpack(data[:size])
    if not sealed:
        with pytest.raises(ProtocolError):
            type(message).unpack(data + b"\0")


@strategies4.many
@given(st.data())
def test_hostile_bytes_raise_nothing_else(data: st.DataObject) -> None:
    code, _, payload = data.draw(
        st.sampled_from(samples4.SMALL_REQUESTS + samples4.SMALL_RESPONSES)
    )
    mutated = bytearray.fromhex(payload) or bytearray(1)
    for place in data.draw(st.lists(st.integers(0, len(mutated) - 1), max_size=4)):
        mutated[place] = data.draw(st.integers(0, 255))
    noise = data.draw(st.binary(max_size=120))
    for hostile in (noise, bytes(mutated), bytes(mutated) + noise):
        try:
            unpacked = TYPES[code].unpack(hostile)
        except ProtocolError:
            continue
        assert unpacked.pack() == hostile


REFUSED: list[tuple[type[Record], str, str]] = [
    (Register, "0000" + "0000" + "0000" + "00", "name: 0 is not within 1 and 255"),
    (Register, "0001" + "78" * 256 + "00000000", "name: 256 is not within 1 and 255"),
    (Register, "0100" + "61" + "0500" + "6162" + "0000", "token: 5 bytes where 4 are left"),
    (Connect, ID_HEX + "00", "Connect of 17 bytes where 16 to 16 are expected"),
    (Begin, BEGIN_HEAD + "0000000000000080" + _ZERO8 + "0000" + "00" + "0000", "Begin.size: "),
    (Begin, BEGIN_HEAD + "feffffffffffffff" + _ZERO8 + "0000" + "00" + "0000", "Begin.size: "),
    (
        Begin,
        BEGIN_HEAD + _ZERO8 * 2 + "0010" + "00" + "0000",
        "mode: 4096 is not within 0 and 4095",
    ),
    (
        Begin,
        BEGIN_HEAD + _ZERO8 * 2 + "0000" + "03" + "0000",
        r"policy: 3 where one of \[0, 1, 2\]",
    ),
    (Begin, BEGIN_HEAD + _ZERO8 * 2 + "0000" + "00" + "0100" + "00", "name: .* contains NUL"),
    (Begin, BEGIN_HEAD + _ZERO8 * 2 + "0000" + "00" + "0100" + "ff", "name: .* is not UTF-8"),
    (Begin, BEGIN_HEAD + _ZERO8 * 2 + "0000" + "00" + "0300" + "eda080", "name: .* not UTF-8"),
    (Begin, BEGIN_HEAD + _ZERO8 * 2 + "0000" + "00" + "0200" + "c0af", "name: .* is not UTF-8"),
    (Begin, BEGIN_HEAD + _ZERO8 * 2 + "0000" + "00" + "0000" + "00", "by 1 bytes too many"),
    (Segment, ID_HEX + _ZERO8 + "02" + TAG_HEX, "final: 2 is not within 0 and 1"),
    (Segment, ID_HEX + _ZERO8 + "01" + "00" * 15, "Segment of 40 bytes"),
    (Segment, ID_HEX + _ZERO8 + "01" + "00" * 1048593, "Segment of 1048618 bytes"),
    (End, ID_HEX + "0000000000000080" + HASH_HEX, "size: 9223372036854775808 is not within"),
    (
        Put,
        SALT_HEX + "0100" + "61" + "00" * 1048593,
        "sealed: 1048593 bytes where 16 to 1048592 are expected",
    ),
    (
        Put,
        SALT_HEX + "0200" + "6161" + "00" * 15,
        "sealed: 15 bytes where 16 to 1048592 are expected",
    ),
    (Put, SALT_HEX + "0000" + "00" * 17, "table: 0 is not within 1 and 65535"),
    (List, "0000" + "0000" + "0000", "limit: 0 is not within 1 and 1000"),
    (List, "0000" + "0000" + "e903", "limit: 1001 is not within 1 and 1000"),
    (Stat, "ffff" + "61" * 65535, "Stat of 65537 bytes where 2 to 65536 are expected"),
    (Get, SALT_HEX + "0100000000000000" + "0000", "offset: 1 is no multiple of 1048576"),
    (Get, SALT_HEX + "0000000000000080" + "0000", "offset: .* is not within 0"),
    (Rename, "01" + "0000" + "0000", r"policy: 1 where one of \[0, 2\] is expected"),
    (Challenge, "7f01" + "00" * 383 + "00", "encrypted_secret: 383 is not within 384 and 384"),
    (Connected, HASH_HEX + _ZERO8 + "0000" + "00", "name: 0 is not within 1 and 255"),
    (Begun, "0000080000000000", "offset: 524288 is no multiple of 1048576"),
    (Stored, "0100" + "00" + "00000100" + "00" * 64, "signature: 64 bytes where 63 are left"),
    (Stored, "0000" + "00000000" + "00" + SIGNATURE_HEX, "count: 0 is not within 1 and 65535"),
    (Stored, "0000" + "00000100" + "02" + HASH_HEX + SIGNATURE_HEX, "64 bytes where 32 are left"),
    (Stored, "0000" + "00000100" + "11" + HASH_HEX * 17 + SIGNATURE_HEX, "path: 17 is not within"),
    (Stored, "0000" + "00000100" + "00" + SIGNATURE_HEX + "00", "by 1 bytes too many"),
    (Ticket, SALT_HEX + "00", "Ticket of 33 bytes where 32 to 32 are expected"),
    (Entries, "02" + "0000", "more: 2 is not within 0 and 1"),
    (Entries, "00" + "e903", "entries: 1001 is not within 0 and 1000"),
    (Entries, "00" + "0200" + ENTRY_HEX, "entries: Entry.upload_id: 16 bytes where 0 are left"),
    (Entries, "00" + "0000" + BARE_ENTRY_HEX, r"by \d+ bytes too many"),
    (Entry, ID_HEX + "ff" * 8 + ENTRY_HEX[48:], "size: .* is not within 0"),
    (Entry, BARE_ENTRY_HEX[:84] + "02" + BARE_ENTRY_HEX[86:], "sha256: 2 is not within 0 and 1"),
    (Entry, BARE_ENTRY_HEX[:86] + "01" + BARE_ENTRY_HEX[88:], "sha256: a value that is flagged"),
    (Entry, BARE_ENTRY_HEX[:150] + "01" + BARE_ENTRY_HEX[152:], "cksum: a value that is flagged"),
    (Entry, BARE_ENTRY_HEX[:158] + "02" + BARE_ENTRY_HEX[160:], "cksum: 2 is not within 0 and 1"),
    (Refused, "0000" + "00000000" + "0000", "reason: 0 where one of"),
    (Refused, "1000" + "00000000" + "0000", "reason: 16 where one of"),
]


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    REFUSED,
    ids=(f"{number}-{case[0].__name__}" for number, case in zip(count(), REFUSED, strict=False)),
)
def test_what_breaks_a_limit_is_refused_and_says_why(
    kind: type[Record], payload: str, why: str
) -> None:
    with pytest.raises(ProtocolError, match=why):
        kind.unpack(bytes.fromhex(payload))


@pytest.mark.parametrize(
    "payload",
    [
        _ZERO8 + "00" + "81" * 1048591,  # neither full nor final
        _ZERO8 + "00" + TAG_HEX,
        "0100000000000000" + "01" + TAG_HEX,  # empty and not the first
        "ffffffffff070000" + "01" + "81" * 1048592,  # ends at 2**63
        "0000000000080000" + "01" + "00" + TAG_HEX,
        "ffffffffffffffff" + "01" + "00" + TAG_HEX,
    ],
    ids=lambda payload: payload[:24],
)
def test_a_segment_that_does_not_fit_its_place_is_a_bad_segment(payload: str) -> None:
    with pytest.raises(BadSegment):
        Segment.unpack(bytes.fromhex(ID_HEX + payload))
    with pytest.raises(BadSegment):
        Content.unpack(bytes.fromhex(payload))


@pytest.mark.parametrize(
    "message",
    [
        Register("", "", b""),
        Register("a", "\0", b""),
        Register("a", "", b"x" * 65536),
        Register("a", "", b"x" * 65530),
        Connect(ID[1:]),
        replace(BEGIN, salt=SALT + b"x"),
        replace(BEGIN, size=2**63),
        replace(BEGIN, size=2**64 - 1),
        replace(BEGIN, size=-1),
        replace(BEGIN, modified=2**63),
        replace(BEGIN, modified=-(2**63) - 1),
        replace(BEGIN, mode=0o10000),
        replace(BEGIN, name="\ud800"),
        replace(BEGIN, name="x" * 65536),
        Segment(ID, 2**64, True, TAG),
        Segment(ID, 0, False, TAG),
        Segment(ID, 0, True, TAG[1:]),
        replace(PUT, sealed=SEALED_SMALL + b"x"),
        replace(PUT, sealed=TAG[1:]),
        replace(PUT, table=b""),
        replace(PUT, table=b"x" * 65536),
        replace(PUT, table=b"x" * 65535, sealed=SEALED_SMALL),
        Outcomes(2**63, SIGNATURE, b"x"),
        Outcomes(0, SIGNATURE[1:], b"x"),
        Outcomes(0, SIGNATURE, b""),
        Outcomes(0, SIGNATURE, bytes(2**20 + 1)),
        Rename(Policy.IF_OLDER, "a", "b"),
        List("", "", 1001),
        Get(SALT, 1048575, "a"),
        Challenge(b"x" * 385),
        Stored(b"", 65536, 65535, (), SIGNATURE),
        Stored(b"", 0, 0, (), SIGNATURE),
        Stored(b"", 0, 65536, (), SIGNATURE),
        Stored(b"", 0, 1, (HASH,) * 17, SIGNATURE),
        Stored(b"", 0, 1, (HASH[1:],), SIGNATURE),
        Stored(b"", 0, 1, (), SIGNATURE[1:]),
        Ticket(SALT[1:]),
        Entries(False, (BARE_ENTRY,) * 1001),
        Entries(False, (ENTRY,) * 1000),
        Content(1, True, TAG),
        Refused(Reason.QUOTA, 2**32, ""),
    ],
    ids=samples4.label,
)
def test_what_could_not_be_read_is_not_packed(message: Request4 | Response4) -> None:
    with pytest.raises(ProtocolError):
        pack_message(message, REQUEST_ID)


def test_a_head_is_checked_like_a_message() -> None:
    with pytest.raises(BadSegment):
        pack_head(Segment(ID, 1, False, TAG), REQUEST_ID)
    with pytest.raises(ProtocolError, match="does not fit"):
        pack_head(Segment(ID, 0, False, FULL), 2**32)


def test_a_page_ends_at_the_limit() -> None:
    assert Entries.page([BARE_ENTRY, ENTRY], 2) == Entries(False, (BARE_ENTRY, ENTRY))
    assert Entries.page([BARE_ENTRY, ENTRY], 1) == Entries(True, (BARE_ENTRY,))
    assert Entries.page(iter([]), 1000) == Entries(False, ())


def test_a_page_ends_where_the_payload_is_full() -> None:
    longest = replace(BARE_ENTRY, name="x" * 1024)
    page = Entries.page([longest] * 1000, 1000)
    assert page.more
    size = len(longest.pack())
    assert len(page.entries) == (65536 - 3) // size
    assert len(page.pack()) == 3 + size * len(page.entries)


def test_a_page_that_is_exactly_full_holds_all() -> None:
    size = len(BARE_ENTRY.pack())
    filling = replace(BARE_ENTRY, name="x" * (65536 - 3 - size * 700 - size + 1))
    page = Entries.page([BARE_ENTRY] * 700 + [filling], 1000)
    assert (page.more, len(page.entries), len(page.pack())) == (False, 701, 65536)
    too_much = replace(filling, name=filling.name + "x")
    page = Entries.page([BARE_ENTRY] * 700 + [too_much], 1000)
    assert (page.more, len(page.entries)) == (True, 700)


def test_these_refusals_close_the_connection() -> None:
    assert [int(reason) for reason in Reason if reason.closes] == [1, 2, 3, 11, 15]
    assert [int(reason) for reason in Reason] == list(range(1, 16))
