"""Payloads of protocol 4 drawn from an input's choices, by the messages' own layouts.

What is drawn is mostly right in form; `Material` gives the values that make it mean something. A
message that the tables gain is drawn without a change here.
"""

from typing import Any

from protocol.fields import (
    Blob,
    Enumerated,
    Exact,
    Field,
    Flag,
    Flagged,
    Hashes,
    Number,
    Prefixed,
    Remainder,
    Rest,
    Text,
)
from protocol.header import MessageHeader
from protocol.records import Record
from protocol.records import Records as RecordsField
from tests.fuzz.choices import Choices

_NUMBERS = (
    0, 1, 2, 5, 0o640, 1000, 65_536, 1_048_576, 2_097_152, 2**31, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
_TEXTS = (b"a", b"b", b"docs/a", b"", b"..", b"a/../b", b"\xff", b"x" * 300, "\u202e".encode())


class Material:
    """Values for fields, by their names; what a session needs to get on overrides `value`."""

    def value(self, name: str, size: int | None, choices: Choices) -> bytes | None:
        """The bytes of the field `name` of exactly `size` bytes (None: any), None for others."""
        return None


def payload(kind: type[Record], choices: Choices, material: Material) -> bytes:
    """The payload of one message, field by field."""
    fields = zip(kind.__match_args__, kind.LAYOUT.fields, strict=True)
    return b"".join(_drawn(field, name, choices, material) for name, field in fields)


def frame(code: int, request_id: int, content: bytes) -> bytes:
    """A message with a header that fits."""
    return MessageHeader(code, request_id, len(content)).pack() + content


def _drawn(field: Field[Any], name: str, choices: Choices, material: Material) -> bytes:
    match field:
        case RecordsField():
            count = choices.byte() % 4
            entries = [payload(field._record, choices, material) for _ in range(count)]
            return count.to_bytes(2, "little") + b"".join(entries)
        case Hashes():
            count = choices.byte() % 4
            return bytes((count,)) + choices.exactly(32 * count)
        case Prefixed():
            return field._prefix + _drawn(field._field, name, choices, material)
        case Flagged():
            return _flagged(field, name, choices, material)
        case Text() | Blob():
            data = _sized(name, choices, material)
            return len(data).to_bytes(2, "little") + data
        case Rest() | Remainder():
            given = material.value(name, None, choices)
            return choices.take(choices.byte() * 4) if given is None else given
    return _fixed(field, name, choices, material)


def _sized(name: str, choices: Choices, material: Material) -> bytes:
    given = material.value(name, None, choices)
    if given is not None:
        return given
    kind = choices.byte()
    return choices.some() if kind >= 128 else _TEXTS[kind % len(_TEXTS)]


def _flagged(field: Flagged[Any], name: str, choices: Choices, material: Material) -> bytes:
    present = choices.byte() % 2
    size = field._field.min_bytes
    data = _drawn(field._field, name, choices, material) if present else bytes(size)
    return bytes((present,)) + data if field._flag_first else data + bytes((present,))


def _fixed(field: Field[Any], name: str, choices: Choices, material: Material) -> bytes:
    size = field.min_bytes
    given = material.value(name, size, choices)
    if given is not None:
        return given[:size].ljust(size, b"\0")
    match field:
        case Flag():
            return bytes((choices.byte() % 2,))
        case Enumerated():
            members = [*field._members, 255]
            return choices.pick(members).to_bytes(size, "little")
        case Exact():
            return choices.exactly(size)
        case Number() if size < 4:
            return choices.exactly(size)
    kind = choices.byte()
    if kind >= 128:
        return choices.exactly(size)
    return (_NUMBERS[kind % len(_NUMBERS)] % (1 << 8 * size)).to_bytes(size, "little")
