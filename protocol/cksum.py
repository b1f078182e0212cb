"""The checksum of POSIX `cksum` (IEEE Std 1003.1, cksum), computed in pieces."""

import zlib
from collections.abc import Callable

Buffer = bytes | bytearray | memoryview
Chain = Callable[[Buffer, int], int]
"""The CRC of some bytes behind others, whose own CRC is given (`EMPTY` for none): that which
catalogues of CRCs call CRC-32/CKSUM."""

EMPTY = 0xFFFFFFFF
"""The CRC of no bytes."""

# zlib's CRC-32 is the same polynomial with every byte and the result bit-reversed (reflected).
_REVERSED_BYTES = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_PIECE_BYTES = 65536  # bytes.translate holds the interpreter's lock: small pieces let others run


def chain_crc(data: Buffer, before: int) -> int:
    """A `Chain` with the standard library alone."""
    register = _reversed(before)
    with memoryview(data) as view:
        for start in range(0, len(view), _PIECE_BYTES):
            piece = bytes(view[start : start + _PIECE_BYTES])
            register = zlib.crc32(piece.translate(_REVERSED_BYTES), register)
    return _reversed(register)


class Cksum:
    """A running POSIX checksum: `update` with the content in any pieces, then read `value`."""

    __slots__ = ("_chain", "_crc", "_size")

    def __init__(self, chain: Chain = chain_crc) -> None:
        """`chain` may be one that is quicker than that of the standard library."""
        self._chain = chain
        self._crc = EMPTY
        self._size = 0

    def update(self, data: Buffer) -> None:
        """Adds content; a memoryview must be of bytes."""
        self._crc = self._chain(data, self._crc)
        self._size += len(data)

    @property
    def size(self) -> int:
        """Bytes added so far."""
        return self._size

    @property
    def value(self) -> int:
        """The checksum of what was added so far, 0 to 2**32-1; adding may go on afterwards."""
        length = self._size.to_bytes((self._size.bit_length() + 7) // 8, "little")
        return self._chain(length, self._crc)


def _reversed(number: int) -> int:
    return int(f"{number:032b}"[::-1], 2)
