"""Choices that an input's bytes stand for: mutating bytes mutates what is done with them."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Choices:
    """Takes choices off the front of the input; what is not there any more counts as zeros."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    @property
    def left(self) -> int:
        """Bytes not yet taken."""
        return max(0, len(self._data) - self._place)

    def byte(self) -> int:
        """0 to 255."""
        place = self._place
        self._place = place + 1
        return self._data[place] if place < len(self._data) else 0

    def number(self, size: int) -> int:
        """Of `size` bytes, little-endian."""
        return int.from_bytes(self.take(size), "little")

    def take(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        place = self._place
        self._place = place + size
        return self._data[place : place + size]

    def exactly(self, size: int) -> bytes:
        """So many bytes, filled with zeros at the end."""
        return self.take(size).ljust(size, b"\0")

    def some(self) -> bytes:
        """Up to 255 bytes, behind their number."""
        return self.take(self.byte())

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.byte() % len(options)]

    def pieces(self) -> tuple[list[bytes], bytes]:
        """What is left after up to seven places to cut at: in pieces, and as one."""
        places = [self.number(2) for _ in range(self.byte() % 8)]
        data = self.rest()
        edges = sorted(place % (len(data) + 1) for place in places)
        starts, ends = [0, *edges], [*edges, len(data)]
        return [data[a:b] for a, b in zip(starts, ends, strict=True)], data


def uncut(data: bytes) -> bytes:
    """An input whose `pieces` are all of `data` at once."""
    return b"\0" + data
