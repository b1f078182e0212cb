"""Content to be uploaded: read in segments, hashed as it is read, in constant memory."""

import hashlib
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from client.errors import FileChanged, FileUnusable, StreamLost
from client.opening import open_regular
from protocol.contexts import MAX_CONTENT_BYTES, SEGMENT_BYTES, SMALL_FILE_BYTES, TAG_BYTES

_AHEAD = 3
# Less is sent by the time that two threads have fallen into step.
_WORTH_A_THREAD_BYTES = 64 * SEGMENT_BYTES
_KEPT_SEGMENTS = 16


class PlainSegment:
    """`size` bytes in `buffer`, which has room for a tag behind them; its user may overwrite it."""

    __slots__ = ("buffer", "final", "index", "size")

    def __init__(self, index: int, buffer: memoryview, size: int, *, final: bool) -> None:
        self.index = index
        self.buffer = buffer
        self.size = size
        self.final = final


class Content(ABC):
    """What an upload reads. A context manager, which closes what was opened.

    `size` is in bytes, None where it is not known; `shown` is for people.
    """

    size: int | None
    shown: str

    @abstractmethod
    def start(self, offset: int) -> None:
        """Goes to `offset`, a multiple of a segment; may be called again.

        Raises `FileChanged` where there is no such offset, `StreamLost` where it is past.
        """

    @abstractmethod
    def fill(self, buffer: memoryview) -> int:
        """Reads the next segment; fewer bytes than the buffer has only at the end."""

    @abstractmethod
    def sha256(self) -> bytes:
        """Of everything up to where it was read."""

    @abstractmethod
    def finish(self) -> int:
        """Reads whatever it takes to know the sum of the whole; its size in bytes."""

    @abstractmethod
    def check_unchanged(self) -> None:
        """Raises `FileChanged` when the content is not what it was when it was opened."""

    @abstractmethod
    def close(self) -> None:
        """Ends the reading."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class FileContent(Content):
    """A regular file; opening raises `FileUnusable`."""

    size: int

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        self._opened = os.fstat(self._file.fileno())
        self._sum = hashlib.sha256()
        self.size = self._opened.st_size
        self.shown = str(path)
        self.modified = self._opened.st_mtime_ns
        self.mode = self._opened.st_mode & 0o7777
        if self.size > MAX_CONTENT_BYTES:
            raise FileUnusable(f"{self.shown!r} is larger than any file can be")

    def start(self, offset: int) -> None:
        self._file.seek(0)
        self._sum = hashlib.sha256()
        buffer = memoryview(bytearray(min(SEGMENT_BYTES, offset)))
        for _ in range(0, offset, SEGMENT_BYTES):
            if self.fill(buffer) < SEGMENT_BYTES:
                raise _changed(self.shown)

    def fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            try:
                count = self._file.readinto(buffer[filled:])
            except OSError as error:
                raise _unreadable(self.shown, error) from error
            if not count:
                break
            filled += count
        self._sum.update(buffer[:filled])
        return filled

    def sha256(self) -> bytes:
        return self._sum.digest()

    def finish(self) -> int:
        self.start(0)
        buffer = memoryview(bytearray(SEGMENT_BYTES))
        while self.fill(buffer):
            pass
        self.check_unchanged()
        return self._file.tell()

    def check_unchanged(self) -> None:
        now = os.fstat(self._file.fileno())
        read = self._file.tell()
        if (read, now.st_size, now.st_mtime_ns) != (self.size, self.size, self.modified):
            raise _changed(self.shown)

    def close(self) -> None:
        self._file.close()


class SmallContent(NamedTuple):
    """A whole small file as it was read; `modified` in nanoseconds since 1970 UTC."""

    path: Path
    content: bytes
    modified: int
    mode: int


def read_small(path: Path) -> SmallContent | None:
    """A file of at most `SMALL_FILE_BYTES`, None when it is larger.

    Raises `FileUnusable` and `FileChanged`.
    """
    with open_regular(path) as file:
        descriptor = file.fileno()
        opened = os.fstat(descriptor)
        size = opened.st_size
        if size > SMALL_FILE_BYTES:
            return None
        try:
            content = os.read(descriptor, size + 1)
            while 0 < len(content) < size and (more := os.read(descriptor, size - len(content))):
                content += more
        except OSError as error:
            raise _unreadable(str(path), error) from error
        now = os.fstat(descriptor)
    if (len(content), now.st_size, now.st_mtime_ns) != (size, size, opened.st_mtime_ns):
        raise _changed(str(path))
    return SmallContent(path, content, opened.st_mtime_ns, opened.st_mode & 0o7777)


def _unreadable(shown: str, error: OSError) -> FileChanged:
    return FileChanged(f"{shown!r} cannot be read any further: {error.strerror}")


def _changed(shown: str) -> FileChanged:
    return FileChanged(
        f"{shown!r} was changed while it was being sent; send it again when nothing writes to it"
    )


class StreamContent(Content):
    """Standard input and the like: its size is not known and it is read once.

    The last segments are kept, so that an upload can go on after a lost connection.
    """

    def __init__(self, stream: BinaryIO, shown: str = "standard input") -> None:
        self.size = None
        self.shown = shown
        self._stream = stream
        self._sums = deque((hashlib.sha256(),), _KEPT_SEGMENTS + 1)  # before each kept, and last
        self._kept: deque[bytes] = deque(maxlen=_KEPT_SEGMENTS)
        self._read = 0
        self._replay = 0

    def start(self, offset: int) -> None:
        behind = -(-self._read // SEGMENT_BYTES) - offset // SEGMENT_BYTES
        if not 0 <= behind <= len(self._kept):
            raise StreamLost(
                f"{self.shown}: the connection was lost, and what the server has not received"
                " cannot be read again; send it again"
            )
        self._replay = behind

    def fill(self, buffer: memoryview) -> int:
        if self._replay:
            segment = self._kept[-self._replay]
            self._replay -= 1
        else:
            segment = self._read_segment(len(buffer))
        buffer[: len(segment)] = segment
        return len(segment)

    def sha256(self) -> bytes:
        return self._sums[-1 - self._replay].digest()

    def finish(self) -> int:
        while self._read_segment(SEGMENT_BYTES):
            pass
        self._replay = 0
        return self._read

    def check_unchanged(self) -> None:
        """A stream has nothing to compare with."""

    def close(self) -> None:
        """The stream stays open: whoever opened it closes it."""

    def _read_segment(self, size: int) -> bytes:
        pieces = []
        while size:
            try:
                piece = self._stream.read(size)
            except OSError as error:
                raise FileUnusable(f"{self.shown} cannot be read: {error.strerror}") from error
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        segment = b"".join(pieces)
        if segment:
            total = self._sums[-1].copy()
            total.update(segment)
            self._sums.append(total)
            self._kept.append(segment)
            self._read += len(segment)
        return segment


def segments(content: Content, offset: int) -> Generator[PlainSegment, None, None]:
    """The segments from `offset` to the final one; close the generator when leaving early.

    A segment's buffer is its user's until the next one is asked for. Raises `FileChanged` when the
    content has not the size that was told.
    """
    content.start(offset)
    if content.size is None or content.size < _WORTH_A_THREAD_BYTES:
        # A thread that reads from a terminal or a pipe could not be ended.
        yield from _segments(content, offset, 2)
        return
    from client.ahead import Ahead

    with closing(Ahead(_segments(content, offset, _AHEAD + 1), _AHEAD)) as ahead:
        yield from ahead


def _segments(content: Content, offset: int, buffer_count: int) -> Iterator[PlainSegment]:
    # One buffer more than are in flight: the next one is read to know whether this is the last.
    # Small content is the usual case, and gets by with buffers of its size.
    most = SEGMENT_BYTES if content.size is None else min(SEGMENT_BYTES, content.size + 1)
    buffers = [memoryview(bytearray(most + TAG_BYTES)) for _ in range(buffer_count)]
    index = offset // SEGMENT_BYTES
    size = content.fill(buffers[index % buffer_count][:most])
    while True:
        buffer = buffers[index % buffer_count]
        following = buffers[(index + 1) % buffer_count][:most]
        next_size = content.fill(following) if size == SEGMENT_BYTES else 0
        final = not next_size
        _check_size(content, index * SEGMENT_BYTES + size, final=final)
        yield PlainSegment(index, buffer, size, final=final)
        if final:
            return
        index, size = index + 1, next_size


def _check_size(content: Content, end: int, *, final: bool) -> None:
    if final:
        content.check_unchanged()
    if content.size is not None and (end > content.size or (final and end != content.size)):
        raise FileChanged(f"{content.shown!r} changed its size while it was being sent")
