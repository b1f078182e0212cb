"""The field types of protocol 4, of which `protocol.records` lays out a row for each message.

All errors are `ProtocolError`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from enum import IntEnum
from typing import Generic, TypeVar

from protocol.errors import ProtocolError

Buffer = bytes | bytearray | memoryview
"""Bytes in any form; a memoryview must be of bytes."""

MAX_SIZED_BYTES = 65_535

T = TypeVar("T")
E = TypeVar("E", bound=IntEnum)


class Reader:
    """Takes fields off the front of a payload, without copying it."""

    __slots__ = ("_data",)

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data)

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return len(self._data)

    def take(self, size: int) -> memoryview:
        """A view of the next `size` bytes."""
        if size > len(self._data):
            raise ProtocolError(f"{size} bytes where {len(self._data)} are left")
        taken, self._data = self._data[:size], self._data[size:]
        return taken


class Field(ABC, Generic[T]):
    """A type on the wire: how its values are written and read, and how many bytes they take."""

    def __init__(self, min_bytes: int, max_bytes: int) -> None:
        self.min_bytes = min_bytes
        self.max_bytes = max_bytes

    @abstractmethod
    def write(self, value: T) -> Buffer:
        """The value's bytes."""

    @abstractmethod
    def read(self, reader: Reader) -> T:
        """The value at the reader's front."""


class Number(Field[int]):
    """A little-endian integer from `least` to `most`, a multiple of `step`."""

    def __init__(
        self,
        size: int,
        *,
        signed: bool = False,
        least: int | None = None,
        most: int | None = None,
        step: int = 1,
    ) -> None:
        super().__init__(size, size)
        lowest = -(1 << (8 * size - 1)) if signed else 0
        self._signed = signed
        self._least = lowest if least is None else least
        self._most = lowest + (1 << 8 * size) - 1 if most is None else most
        self._step = step

    def write(self, value: int) -> bytes:
        self._check(value)
        return value.to_bytes(self.min_bytes, "little", signed=self._signed)

    def read(self, reader: Reader) -> int:
        value = int.from_bytes(reader.take(self.min_bytes), "little", signed=self._signed)
        self._check(value)
        return value

    def _check(self, value: int) -> None:
        if not self._least <= value <= self._most:
            raise ProtocolError(f"{value} is not within {self._least} and {self._most}")
        if value % self._step:
            raise ProtocolError(f"{value} is no multiple of {self._step}")


U8, U16, U32, U64, I64 = Number(1), Number(2), Number(4), Number(8), Number(8, signed=True)


class Enumerated(Field[E]):
    """A number that stands for one of `members`; any other one is an error."""

    def __init__(self, number: Number, members: Iterable[E]) -> None:
        super().__init__(number.min_bytes, number.max_bytes)
        self._number = number
        self._members = {int(member): member for member in members}

    def write(self, value: E) -> bytes:
        return self._number.write(self._member(value))

    def read(self, reader: Reader) -> E:
        return self._member(self._number.read(reader))

    def _member(self, value: int) -> E:
        member = self._members.get(value)
        if member is None:
            raise ProtocolError(f"{value} where one of {sorted(self._members)} is expected")
        return member


class Flag(Field[bool]):
    """One byte, 0 or 1."""

    _NUMBER = Number(1, most=1)

    def __init__(self) -> None:
        super().__init__(1, 1)

    def write(self, value: bool) -> bytes:
        return self._NUMBER.write(value)

    def read(self, reader: Reader) -> bool:
        return bool(self._NUMBER.read(reader))


FLAG = Flag()


class Exact(Field[bytes]):
    """So many bytes: ids, salts, digests."""

    def __init__(self, size: int) -> None:
        super().__init__(size, size)

    def write(self, value: bytes) -> bytes:
        if len(value) != self.min_bytes:
            raise ProtocolError(f"{len(value)} bytes where {self.min_bytes} are expected")
        return value

    def read(self, reader: Reader) -> bytes:
        return bytes(reader.take(self.min_bytes))


class Blob(Field[bytes]):
    """A size (u16) and so many bytes, `least` to `most`."""

    def __init__(self, least: int = 0, most: int = MAX_SIZED_BYTES) -> None:
        super().__init__(U16.min_bytes + least, U16.max_bytes + most)
        self._size = Number(2, least=least, most=most)

    def write(self, value: bytes) -> bytes:
        return bytes(self._size.write(len(value))) + value

    def read(self, reader: Reader) -> bytes:
        return bytes(reader.take(self._size.read(reader)))


class Text(Field[str]):
    """A size (u16) and so many bytes of UTF-8 without NUL, `least` to `most`."""

    def __init__(self, least: int = 0, most: int = MAX_SIZED_BYTES) -> None:
        self._blob = Blob(least, most)
        super().__init__(self._blob.min_bytes, self._blob.max_bytes)

    def write(self, value: str) -> bytes:
        try:
            return self._blob.write(_without_nul(value).encode("utf-8"))
        except UnicodeEncodeError as error:
            raise ProtocolError(f"{value!r} is not UTF-8") from error

    def read(self, reader: Reader) -> str:
        data = self._blob.read(reader)
        try:
            return _without_nul(data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ProtocolError(f"{data!r} is not UTF-8") from error


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ProtocolError(f"{text!r} contains NUL")
    return text


class Rest(Field[Buffer]):
    """Every byte up to the end, `least` to `most`; neither written nor read with a copy."""

    def write(self, value: Buffer) -> Buffer:
        self._check(len(value))
        return value

    def read(self, reader: Reader) -> memoryview:
        self._check(reader.left)
        return reader.take(reader.left)

    def _check(self, size: int) -> None:
        if not self.min_bytes <= size <= self.max_bytes:
            raise ProtocolError(
                f"{size} bytes where {self.min_bytes} to {self.max_bytes} are expected"
            )


class Remainder(Field[bytes]):
    """The same as `Rest`, copied: it outlives the buffer that it was read from."""

    def __init__(self, least: int, most: int) -> None:
        self._rest = Rest(least, most)
        super().__init__(least, most)

    def write(self, value: bytes) -> Buffer:
        return self._rest.write(value)

    def read(self, reader: Reader) -> bytes:
        return bytes(self._rest.read(reader))


class Flagged(Field[T | None]):
    """A flag, and a value that is all zeros where the flag is 0; either may come first."""

    def __init__(self, field: Field[T], *, flag_first: bool) -> None:
        super().__init__(1 + field.min_bytes, 1 + field.max_bytes)
        self._field = field
        self._flag_first = flag_first
        self._nothing = bytes(field.min_bytes)

    def write(self, value: T | None) -> bytes:
        flag = FLAG.write(value is not None)
        data = self._nothing if value is None else self._field.write(value)
        return b"".join((flag, data) if self._flag_first else (data, flag))

    def read(self, reader: Reader) -> T | None:
        present = self._flag_first and FLAG.read(reader)
        data = reader.take(self._field.min_bytes)
        if not self._flag_first:
            present = FLAG.read(reader)
        if present:
            return self._field.read(Reader(data))
        if data != self._nothing:
            raise ProtocolError("a value that is flagged as missing is not zero")
        return None


class Prefixed(Field[T]):
    """A field behind bytes that are always the same."""

    def __init__(self, prefix: bytes, field: Field[T]) -> None:
        super().__init__(len(prefix) + field.min_bytes, len(prefix) + field.max_bytes)
        self._prefix = prefix
        self._field = field

    def write(self, value: T) -> bytes:
        return b"".join((self._prefix, self._field.write(value)))

    def read(self, reader: Reader) -> T:
        found = bytes(reader.take(len(self._prefix)))
        if found != self._prefix:
            raise ProtocolError(f"{found!r} where {self._prefix!r} is expected")
        return self._field.read(reader)


class Hashes(Field[tuple[bytes, ...]]):
    """A count (u8, at most `most`) and so many SHA-256 hashes."""

    def __init__(self, most: int = 16) -> None:
        super().__init__(1, 1 + 32 * most)
        self._count = Number(1, most=most)
        self._hash = Exact(32)

    def write(self, value: tuple[bytes, ...]) -> bytes:
        return self._count.write(len(value)) + b"".join(map(self._hash.write, value))

    def read(self, reader: Reader) -> tuple[bytes, ...]:
        return tuple(self._hash.read(reader) for _ in range(self._count.read(reader)))
