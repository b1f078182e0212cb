"""Protocol 4's payloads, message by message, as bytes and as drawn from their layouts."""

from collections.abc import Iterable

from protocol.errors import ProtocolError
from protocol.messages4 import CODES, Entries, Entry
from protocol.receipts import ReceiptBody
from protocol.records import Record
from tests.fuzz.choices import Choices
from tests.fuzz.drawing import Material, payload
from tests.fuzz.target import Target, must

_KINDS: tuple[type[Record], ...] = (*CODES, ReceiptBody)
_RAW, _DRAWN = 0, 1


def _run(data: bytes) -> None:
    choices = Choices(data)
    kind = choices.pick(_KINDS)
    drawn = choices.byte() % 2
    packed = payload(kind, choices, Material()) if drawn else choices.rest()
    try:
        record = kind.unpack(packed)
    except ProtocolError as error:
        must(str(error), "an error says something")
        return
    must(record.pack() == packed, "what unpacks packs to the same bytes")
    again = kind.unpack(memoryview(bytearray(packed)))
    must(again == record, "a record that is packed unpacks to itself")
    must(b"".join(map(bytes, record.parts())) == packed, "its parts are its bytes")
    low, high = kind.LAYOUT.min_bytes, kind.LAYOUT.max_bytes
    must(low <= len(packed) <= high, "it has a size that its layout allows")
    if isinstance(record, Entries):
        _check_page(record.entries, len(record.entries) - 1)


def _check_page(entries: tuple[Entry, ...], limit: int) -> None:
    if limit < 1:
        return
    page = Entries.page(entries, limit)
    must(page.more and page.entries == entries[:limit], "a page has what fits and tells of more")


def _seeds() -> Iterable[bytes]:
    for number, kind in enumerate(_KINDS):
        for fill in (0, 1, 3, 40, 200):
            choices = bytes((fill,)) * 600
            yield bytes((number, _DRAWN)) + choices
            content = payload(kind, Choices(choices), Material())
            yield bytes((number, _RAW)) + content


TARGET = Target(
    "records4", "protocol/fields.py, requests4.py, responses4.py, receipts.py", _run, _seeds
)
