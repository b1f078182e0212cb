"""From a file on disk to its ciphertext, piece by piece, in constant memory."""

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from fastcrc.crc32 import cksum

from client.ahead import Ahead
from client.errors import FileChanged
from client.opening import open_regular
from client.sealing import BLOCK_BYTES, encryptor, sealed_size
from protocol.cksum import Cksum
from protocol.generations import Generation
from protocol.messages3 import SendFile

# Measured: less processor time for each GiB than with 128 or 256 KiB; 4 MiB gain nothing more.
PIECE_BYTES = 1 << 20
_AHEAD = 4
_MAX_UINT32 = (1 << 32) - 1


def largest_file_bytes(generation: Generation) -> int:
    """The largest plain file that this generation's size fields can announce, in bytes."""
    # One message announces content and fixed part together, as its payload.
    most = _MAX_UINT32 if generation.in_packets else _MAX_UINT32 - SendFile.SIZE
    return most - most % BLOCK_BYTES - 1


class SealedContent:
    """One reading of a file: `pieces` yields its ciphertext, then `checksum` is known.

    The size is that of the moment of opening; a file that has another one in the end raises
    `FileChanged`. Opening raises `FileUnusable`. A context manager, which closes the file.
    """

    def __init__(self, path: Path, session_key: bytes) -> None:
        self._file = open_regular(path)
        self._shown = str(path)
        self._sum = Cksum(cksum)
        self._encryptor = encryptor(session_key)
        self.size = os.fstat(self._file.fileno()).st_size
        """Bytes of the plain file."""
        self.sealed_size = sealed_size(self.size)
        """Bytes of the ciphertext."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def checksum(self) -> int:
        """The POSIX checksum of what was read so far."""
        return self._sum.value

    def pieces(self) -> Generator[memoryview, None, None]:
        """The ciphertext in pieces of `PIECE_BYTES`, the last one shorter; to be called once.

        A piece is valid until the next one is asked for. Close the generator when leaving early.
        """
        if self.sealed_size <= PIECE_BYTES:
            yield from self._sealed(self._padded(1))
            return
        # CBC is the slowest part by far: it gets a thread of its own, beside the one that reads and
        # sums up and the one that sends.
        with (
            closing(Ahead(self._padded(2 * _AHEAD), _AHEAD)) as padded,
            closing(Ahead(self._sealed(iter(padded)), _AHEAD)) as sealed,
        ):
            yield from sealed

    def _sealed(self, padded: Iterator[memoryview]) -> Iterator[memoryview]:
        for piece in padded:
            self._encryptor.encrypt(piece, output=piece)
            yield piece

    def _padded(self, buffer_count: int) -> Iterator[memoryview]:
        """The plain content and its padding, in turn in each of `buffer_count` buffers."""
        buffer_bytes = min(PIECE_BYTES, self.sealed_size)
        buffers = [memoryview(bytearray(buffer_bytes)) for _ in range(buffer_count)]
        padding = self.sealed_size - self.size
        for number, start in enumerate(range(0, self.sealed_size, buffer_bytes)):
            buffer = buffers[number % buffer_count][: self.sealed_size - start]
            plain = buffer[: max(0, self.size - start)]
            self._fill(plain)
            self._sum.update(plain)
            buffer[len(plain) :] = bytes((padding,)) * (len(buffer) - len(plain))
            if start + len(buffer) == self.sealed_size:
                self._check_end()
            yield buffer

    def _fill(self, buffer: memoryview) -> None:
        filled = 0
        while filled < len(buffer):
            count = self._read_into(buffer[filled:])
            if not count:
                raise self._changed("smaller")
            filled += count

    def _check_end(self) -> None:
        if self._read_into(memoryview(bytearray(1))):
            raise self._changed("larger")

    def _read_into(self, buffer: memoryview) -> int:
        try:
            return self._file.readinto(buffer)
        except OSError as error:
            raise FileChanged(
                f"{self._shown!r} cannot be read any further: {error.strerror}"
            ) from error

    def _changed(self, how: str) -> FileChanged:
        return FileChanged(
            f"{self._shown!r} became {how} while it was being sent, {self.size} bytes were"
            " announced; send it again when nothing writes to it"
        )
