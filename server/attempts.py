"""One upload on its way: the attempts at it, its content once complete, and the receipt for it."""

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from protocol.contexts import SEGMENT_BYTES
from protocol.messages4 import Begin, End, Policy, Segment
from server.errors import DigestMismatch, UnknownUpload
from server.quota import Reservation
from server.repository import Client
from server.sealing import SegmentOpener
from server.segmentmemory import SegmentMemory
from server.storage import DirectoryStorage, StagedFile

Key = tuple[bytes, bytes]
"""Client id and upload id."""


@dataclass(slots=True)
class Incoming:
    """A file whose content is complete in staging and waits to be published."""

    client: Client
    upload_id: bytes
    object_id: bytes
    staged: StagedFile
    reservation: Reservation
    name: str
    size: int
    sha256: bytes
    modified: int
    mode: int
    policy: Policy


class Turns:
    """Lets one thread at a time work on an upload; others go on with theirs."""

    def __init__(self) -> None:
        self._ended = threading.Condition()
        self._taken: set[Key] = set()

    @contextmanager
    def of(self, *keys: Key) -> Iterator[None]:
        """The turns of all these uploads: all or none, so that nobody holds one while waiting."""
        with self._ended:
            self._ended.wait_for(lambda: self._taken.isdisjoint(keys))
            self._taken.update(keys)
        try:
            yield
        finally:
            with self._ended:
                self._taken.difference_update(keys)
                self._ended.notify_all()


class Attempt:
    """One connection's attempt at an upload: takes segments in order from `offset` on."""

    def __init__(
        self,
        storage: DirectoryStorage,
        client: Client,
        request: Begin,
        key: bytes,
        object_id: bytes,
        reservation: Reservation,
        memory: SegmentMemory,
    ) -> None:
        self.client = client
        self.request = request
        self.object_id = object_id
        self.reservation = reservation
        self.lock = threading.Lock()
        self.ended = False
        self._memory = memory
        self._digest = hashlib.sha256()
        self.staged = storage.resume(client.id, object_id)
        try:
            self.offset = self._keep_whole_segments()
        except BaseException:
            self.staged.close()
            raise
        self._opener = SegmentOpener(key, request.upload_id, self.offset // SEGMENT_BYTES)

    @property
    def key(self) -> Key:
        """Which upload it is an attempt at."""
        return self.client.id, self.request.upload_id

    @property
    def all_there(self) -> bool:
        """Whether the final segment has come."""
        return self._opener.finished

    def _keep_whole_segments(self) -> int:
        size = self.request.size
        held = self.staged.size - self.staged.size % SEGMENT_BYTES
        if size is not None:
            if held > size:
                held = 0  # the client has another content in mind than the one that is staged
            elif held == size and held:
                held -= SEGMENT_BYTES  # the final segment is never counted as held
        self.staged.cut(held)
        # Not the shared memory: this may take minutes, and others must not wait for it.
        buffer = memoryview(bytearray(min(SEGMENT_BYTES, held)))
        for piece in self.staged.content(buffer) if held else ():
            self._digest.update(piece)
        self.reservation.write(held)
        return held

    def take(self, segment: Segment) -> None:
        """Opens and writes a segment.

        Raises `BadSegment`, `UnknownUpload` when another attempt has taken over, `DigestMismatch`
        beyond the size that was announced, `LimitReached` or `StorageError`.
        """
        sealed = memoryview(segment.sealed)
        with self.lock, self._memory.buffer() as buffer:
            if self.ended:
                raise UnknownUpload("another attempt has taken over")
            plain = self._opener.open(segment.index, sealed, buffer, final=segment.final)
            announced = self.request.size
            if announced is not None and self.staged.size + len(plain) > announced:
                raise DigestMismatch(f"more content than the {announced} bytes announced")
            self.reservation.write(len(plain))
            # The sum needs a processor and the disk does not: both at once.
            with self._memory.meanwhile(self._digest.update, plain):
                self.staged.write(plain)

    def complete(self, end: End) -> Incoming:
        """The finished content; raises `DigestMismatch` when it is not what the client read."""
        with self.lock:
            if self.ended or not self._opener.finished:
                raise UnknownUpload("the upload is not complete")
            same = hmac.compare_digest(self._digest.digest(), end.sha256)
            if self.staged.size != end.size or not same:
                raise DigestMismatch("size or SHA-256 differ from what the client read")
            request = self.request
            return Incoming(
                self.client, request.upload_id, self.object_id, self.staged, self.reservation,
                request.name, end.size, end.sha256, request.modified, request.mode, request.policy,
            )  # fmt: skip

    def end(self) -> None:
        """Ends the attempt; what is staged stays for the next one."""
        with self.lock:
            if not self.ended:
                self.ended = True
                self.staged.close()
                self.reservation.release()
