"""Fetching a file: every segment verified before it is used, the whole before it gets its name."""

import contextlib
import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fastcrc.crc32 import cksum

from client.appending import Appending
from client.errors import ConnectionLost, ContentTampered, FileUnusable, NotWritten
from client.private_files import sync_directory
from client.session4 import Access, Session4, new_salt
from client.state import writing
from client.uploading import Progress
from protocol.cksum import Cksum
from protocol.contexts import SEGMENT_BYTES, UPLOAD_ID_BYTES, Direction, segment_count
from protocol.messages4 import Entry, Get

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_SUFFIX = ".part"
_TAIL_CHARACTERS = 2 * UPLOAD_ID_BYTES + len(_SUFFIX)
_LONGEST_NAME_BYTES = 255
_MODE_BITS = 0o777  # a server is not to hand out set-user-id programs
_MODE_WITHOUT_ONE = 0o600


def fetch(
    session: Session4, access: Access, name: str, offset: int, upload_id: bytes | None
) -> tuple[Entry, Iterator[memoryview]]:
    """A file's entry and its verified content from `offset`; each piece until the next one.

    Raises `ConnectionLost` when it is not the upload that is expected (None: any), `NotFound`,
    and, from the iterator, `ContentTampered`.
    """
    salt = new_salt()
    entry, contents = session.get(Get(salt, offset, name))
    if upload_id not in (None, entry.upload_id):
        raise ConnectionLost(f"{name!r} was replaced on the server in the meantime")
    key = access.content_key(salt, Direction.TO_CLIENT, entry.upload_id)

    def opened() -> Iterator[memoryview]:
        # Memory that begins with a page, as `PartFile` likes it.
        output = memoryview(mmap.mmap(-1, min(SEGMENT_BYTES, entry.size) or 1))
        for content in contents:
            yield key.open(content.sealed, content.index, output, final=content.final)

    return entry, opened()


class Whole:
    """Checks that the whole content is what its entry says."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._sha256 = hashlib.sha256()
        # Slow, and only of use where there is nothing better: files that came by protocol 3.
        self._cksum = Cksum(cksum) if entry.sha256 is None and entry.cksum is not None else None

    def update(self, data: memoryview) -> None:
        """The next bytes."""
        self._sha256.update(data)
        if self._cksum is not None:
            self._cksum.update(data)

    def check(self) -> None:
        """Raises `ContentTampered`."""
        entry = self._entry
        differs = entry.sha256 is not None and entry.sha256 != self._sha256.digest()
        if differs or (self._cksum is not None and self._cksum.value != entry.cksum):
            raise ContentTampered(f"{entry.name!r} is not what the server's own checksum says")


def download(
    session: Session4, access: Access, name: str, target: Path, *, progress: Progress
) -> Entry:
    """Fetches a file to `target`, which it replaces when it is complete and verified.

    Goes on where an earlier attempt was interrupted. Raises what `fetch` raises, `NotWritten`, and,
    before anything is asked of the server, `FileUnusable`.
    """
    with writing(target):
        if target.is_dir():
            raise FileUnusable(f"{str(target)!r} is a directory; name a file")
        if not target.parent.is_dir():
            raise FileUnusable(f"there is no directory {str(target.parent)!r}; make it first")
    upload_id, offset = None, 0
    interrupted = list(PartFile.interrupted(target))
    if interrupted:
        known = session.stat(name)
        upload_id = known.upload_id
        offset = PartFile.usable_bytes(target, known)
        PartFile.discard_others(interrupted, target, known.upload_id)
    entry, pieces = fetch(session, access, name, offset, upload_id if offset else None)
    with PartFile(target, entry) as part:
        part.go_on_at(offset)
        progress(offset, entry.size)
        for piece in pieces:
            part.write(piece)
            offset += len(piece)
            progress(offset, entry.size)
        part.publish()
    return entry


class PartFile:
    """A download on its way, beside its target; locked while it is written.

    Raises `NotWritten`. A context manager, which keeps what a later attempt can go on from, and
    nothing else; that it is kept, and where, is then part of a `NotWritten`.
    """

    def __init__(self, target: Path, entry: Entry) -> None:
        self._target = target
        self._entry = entry
        self._path = _part_path(target, entry.upload_id)
        self._whole = Whole(entry)
        with writing(target):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o600)
        self._file = FileIO(descriptor, "r+")
        self._appending = Appending(self._file)
        self._thread: ThreadPoolExecutor | None = None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have given it its name, or removed it, before it was locked.
            if not os.path.samestat(os.fstat(descriptor), self._path.stat()):
                raise FileNotFoundError
        except OSError as error:
            self._file.close()
            if isinstance(error, BlockingIOError | FileNotFoundError):
                raise NotWritten(f"{str(target)!r} is being downloaded already") from error
            cause = error.strerror or str(error)
            raise NotWritten(f"{str(self._path)!r} cannot be locked: {cause}") from error

    @staticmethod
    def interrupted(target: Path) -> Iterator[Path]:
        """The unfinished downloads to `target`."""
        with writing(target):
            for path in target.parent.iterdir():
                upload_id = path.name[-_TAIL_CHARACTERS : -len(_SUFFIX)]
                if path.name == f"{_prefix(target)}{upload_id}{_SUFFIX}":
                    yield path

    @staticmethod
    def usable_bytes(target: Path, entry: Entry) -> int:
        """Where an earlier attempt at this very upload left off, in bytes: whole segments."""
        try:
            size = _part_path(target, entry.upload_id).stat().st_size
        except OSError:
            return 0
        # The final segment is fetched in any case, so that there is one to fetch.
        return min(size // SEGMENT_BYTES, segment_count(entry.size) - 1) * SEGMENT_BYTES

    @staticmethod
    def discard_others(interrupted: list[Path], target: Path, upload_id: bytes) -> None:
        """Removes those that belong to a version that the server no longer has."""
        for path in interrupted:
            if path != _part_path(target, upload_id):
                with contextlib.suppress(OSError):
                    path.unlink()

    def go_on_at(self, offset: int) -> None:
        """Keeps the first `offset` bytes, which were verified when they were written."""
        buffer = memoryview(bytearray(min(SEGMENT_BYTES, offset)))
        with writing(self._target):
            self._file.truncate(offset)
            while (position := self._file.tell()) < offset:
                count = self._file.readinto(buffer[: offset - position])
                if not count:
                    raise NotWritten(f"{str(self._path)!r} was shortened by another program")
                self._whole.update(buffer[:count])

    def write(self, piece: memoryview) -> None:
        """Appends verified bytes: a segment as `fetch` gives it."""
        with self._summing_up(piece), writing(self._target):
            self._appending.write(piece, aligned=len(piece) == SEGMENT_BYTES)

    @contextmanager
    def _summing_up(self, piece: memoryview) -> Iterator[None]:
        """The sum needs a processor and the disk does not: both at once, for a whole segment."""
        if len(piece) < SEGMENT_BYTES:
            self._whole.update(piece)
            yield
            return
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1, "digest")
        summed = self._thread.submit(self._whole.update, piece)
        try:
            yield
        finally:
            summed.result()

    def publish(self) -> None:
        """Gives the complete file its time, its mode and, durably, its name.

        Raises `ContentTampered`, and keeps nothing, when it is not what the entry says.
        """
        try:
            self._whole.check()
        except ContentTampered:
            # Nothing that could be gone on from, even where it cannot be removed at the exit.
            with contextlib.suppress(OSError):
                self._file.truncate(0)
            raise
        descriptor, entry = self._file.fileno(), self._entry
        with writing(self._target):
            os.fchmod(descriptor, entry.mode & _MODE_BITS or _MODE_WITHOUT_ONE)
            with contextlib.suppress(OverflowError):  # a time that this system cannot tell
                os.utime(descriptor, ns=(entry.modified, entry.modified))
            os.fsync(descriptor)
            self._path.replace(self._target)
            sync_directory(self._target.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown()
        with self._file:
            if error is None:
                return
            kept = self.usable_bytes(self._target, self._entry)
            if not kept:
                with contextlib.suppress(OSError):
                    self._path.unlink(missing_ok=True)
            elif isinstance(error, NotWritten):
                raise NotWritten(
                    f"{error}; {kept} bytes of it are kept in {str(self._path)!r}, and the same"
                    " command goes on from there"
                ) from error.__cause__


def _part_path(target: Path, upload_id: bytes) -> Path:
    return target.parent / f"{_prefix(target)}{upload_id.hex()}{_SUFFIX}"


def _prefix(target: Path) -> str:
    most = _LONGEST_NAME_BYTES - len("..") - _TAIL_CHARACTERS
    name = os.fsdecode(os.fsencode(target.name)[:most])
    return f".{name}."
