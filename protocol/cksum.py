"""The checksum of POSIX `cksum` (IEEE Std 1003.1, cksum), computed in pieces."""

import zlib

# zlib's CRC-32 is the same polynomial with every byte and the result bit-reversed (reflected).
_REVERSED_BYTES = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_ALL_ONES = 0xFFFFFFFF  # zlib complements its register on the way in and out: this means zero
_PIECE_BYTES = 65536  # bytes.translate holds the interpreter's lock: small pieces let others run


class Cksum:
    """A running POSIX checksum: `update` with the content in any pieces, then read `value`."""

    __slots__ = ("_register", "_size")

    def __init__(self) -> None:
        self._register = _ALL_ONES
        self._size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Adds content; a memoryview must be of bytes."""
        with memoryview(data) as view:
            for start in range(0, len(view), _PIECE_BYTES):
                piece = bytes(view[start : start + _PIECE_BYTES])
                self._register = zlib.crc32(piece.translate(_REVERSED_BYTES), self._register)
            self._size += len(view)

    @property
    def size(self) -> int:
        """Bytes added so far."""
        return self._size

    @property
    def value(self) -> int:
        """The checksum of what was added so far, 0 to 2**32-1; adding may go on afterwards."""
        length = self._size.to_bytes((self._size.bit_length() + 7) // 8, "little")
        register = zlib.crc32(length.translate(_REVERSED_BYTES), self._register)
        return int(f"{register:032b}"[::-1], 2)
