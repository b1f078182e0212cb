"""Records: everything that protocol 4 lays out in bytes, as a row of fields.

A record names its fields as a dataclass does and gives, in the same order, their types on the wire
in `LAYOUT`; packing, unpacking and limits follow. All errors are `ProtocolError`.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar, dataclass_transform

from protocol.errors import ProtocolError
from protocol.fields import U16, Buffer, Field, Number, Reader

MAX_PLAIN_PAYLOAD_BYTES = 65_536
"""The largest payload of a message that carries no sealed content (section 2)."""

R = TypeVar("R", bound="Record")


class Layout:
    """The fields of a record in their order; `max_bytes` caps what they add up to."""

    __slots__ = ("fields", "max_bytes", "min_bytes")

    def __init__(self, *fields: Field[Any], max_bytes: int = MAX_PLAIN_PAYLOAD_BYTES) -> None:
        self.fields = fields
        self.min_bytes = sum(field.min_bytes for field in fields)
        self.max_bytes = min(max_bytes, sum(field.max_bytes for field in fields))

    def check_size(self, what: str, size: int) -> None:
        """Raises `ProtocolError` on a size in bytes that no values of these fields have."""
        if not self.min_bytes <= size <= self.max_bytes:
            raise ProtocolError(
                f"{what} of {size} bytes where {self.min_bytes} to {self.max_bytes} are expected"
            )


@dataclass_transform(frozen_default=True)
class Record:
    """The base of everything that protocol 4 lays out in bytes: like a frozen dataclass, whose
    fields are the annotations in their order. Those in `HIDDEN` are not shown.

    `pack` and `unpack` refuse the same things, so that what was packed is always accepted.
    """

    # A dataclass compiles half a dozen functions for each record: a tenth of a client's start.

    LAYOUT: ClassVar[Layout]
    HIDDEN: ClassVar[tuple[str, ...]] = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        names = tuple(name for name in cls.__annotations__ if not name.isupper())
        cls.__match_args__ = names  # type: ignore[misc] # as a dataclass sets it

    def __init__(self, *values: Any, **named: Any) -> None:  # noqa: ANN401 - those of the fields
        names = self.__match_args__
        if named:
            values += tuple(named.pop(name) for name in names[len(values) :] if name in named)
        if named or len(values) != len(names):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(names)}")
        self.__dict__.update(zip(names, values, strict=True))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be removed")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.__dict__.items()
                 if name not in self.HIDDEN)  # fmt: skip
        return f"{type(self).__name__}({', '.join(shown)})"

    def __replace__(self, **changes: Any) -> Self:  # noqa: ANN401 - those of the fields
        """The same record with other values of these fields."""
        return type(self)(**{**self.__dict__, **changes})

    def check(self) -> None:
        """Raises `ProtocolError` where fields that are right each for itself contradict."""

    def parts(self) -> list[Buffer]:
        """The bytes of each field in its order; sealed content as it is, without a copy."""
        self.check()
        parts: list[Buffer] = []
        for name, field in zip(self.__match_args__, self.LAYOUT.fields, strict=True):
            try:
                parts.append(field.write(getattr(self, name)))
            except ProtocolError as error:
                raise _within(type(self), name, error) from error
        self.LAYOUT.check_size(type(self).__name__, sum(map(len, parts)))
        return parts

    def pack(self) -> bytes:
        """The record's bytes, without a message header."""
        return b"".join(self.parts())

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """The record at the reader's front."""
        values = []
        for name, field in zip(cls.__match_args__, cls.LAYOUT.fields, strict=True):
            try:
                values.append(field.read(reader))
            except ProtocolError as error:
                raise _within(cls, name, error) from error
        make: Callable[..., Self] = cls
        record = make(*values)
        record.check()
        return record

    @classmethod
    def unpack(cls, data: Buffer) -> Self:
        """The record that is exactly `data`; sealed content becomes a view of it, not a copy."""
        cls.LAYOUT.check_size(cls.__name__, len(data))
        reader = Reader(data)
        record = cls.read(reader)
        if reader.left:
            raise ProtocolError(f"{cls.__name__} is followed by {reader.left} bytes too many")
        return record


class Records(Field[tuple[R, ...]]):
    """A count (u16, at most `most`) and so many records."""

    def __init__(self, record: type[R], most: int) -> None:
        super().__init__(U16.min_bytes, U16.max_bytes + most * record.LAYOUT.max_bytes)
        self._record = record
        self._count = Number(2, most=most)

    def write(self, value: tuple[R, ...]) -> bytes:
        return self._count.write(len(value)) + b"".join(record.pack() for record in value)

    def read(self, reader: Reader) -> tuple[R, ...]:
        return tuple(self._record.read(reader) for _ in range(self._count.read(reader)))


def _within(record: type[Record], name: str, error: ProtocolError) -> ProtocolError:
    return ProtocolError(f"{record.__name__}.{name}: {error}")
