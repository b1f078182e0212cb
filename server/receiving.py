"""From plain bytes to a stored, verified file; what a crash left behind is put right at start-up.

The order that makes an acknowledgement a promise: staged file written, synced, renamed to its
object, directory synced, database committed. The commit alone makes a file visible. A crash before
it leaves an object that the database does not know; a crash after it loses nothing.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastcrc.crc32 import cksum

from protocol.cksum import Cksum
from server.config import Config
from server.errors import ServerError, StorageError
from server.indoubt import InDoubt
from server.quota import Quota, Reservation
from server.repository import Event, Repository, StoredFile
from server.storage import DirectoryStorage

_log = logging.getLogger(__name__)

OBJECT_ID_BYTES = 16


def new_object_id() -> bytes:
    """16 bytes that no other object has, and that sort by time."""
    # Rows in the order of their keys fill an index from one end: half the pages to be written.
    return time.time_ns().to_bytes(8, "big") + os.urandom(OBJECT_ID_BYTES - 8)


class Upload:
    """One file on its way in. Ends with `publish` or `discard`; until then it counts in limits."""

    def __init__(self, receiver: "Receiver", reservation: Reservation) -> None:
        self.client_id = reservation.client_id
        self.name = reservation.name
        self.reservation = reservation
        self.object_id = new_object_id()
        self._receiver = receiver
        self._staged = receiver.storage.stage(self.object_id)
        self._cksum = Cksum(cksum)
        self._synced = False
        self._in_doubt = False
        self._given_up = False

    @property
    def size(self) -> int:
        """Plain bytes written so far."""
        return self._cksum.size

    @property
    def checksum(self) -> int:
        """POSIX checksum of the bytes written so far."""
        return self._cksum.value

    def write(self, plain: memoryview) -> None:
        """Appends plain bytes. Raises `StorageError`, `LimitReached` beyond what was announced."""
        self.reservation.write(len(plain))
        self._cksum.update(plain)
        self._staged.write(plain)

    def publish(self, event: Event | None = None) -> None:
        """Makes the file durable and visible under its name, in place of an older one. The `event`
        tells the audit trail who does it.

        When the database fails, the upload stays and `publish` may be called again. When the disk
        fails, it is discarded, since a second sync proves nothing. Raises `StorageError` or
        `RepositoryError`.
        """
        if self._given_up:
            raise StorageError("the upload was given up")
        try:
            if not self._synced:
                self._staged.sync()
                self._staged.close()
                self._synced = True
            self._receiver.storage.publish(self.client_id, self.object_id)
        except StorageError:
            self.discard()
            raise
        self._in_doubt = True
        self._receiver.commit(self, event)
        self._in_doubt = False

    def discard(self) -> None:
        """Gives up the upload and its bytes; harmless when it has ended already."""
        self._given_up = True
        try:
            if self._in_doubt:
                self._in_doubt = False
                self._receiver.in_doubt.add(
                    self.client_id, self.object_id, self.name, self.reservation.written
                )
            self._staged.discard()
        finally:
            self._receiver.release(self)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What start-up found: partial uploads swept, replaced objects removed, objects unknown to the
    database set aside, known ones brought back, and files whose bytes are gone or of wrong size."""

    swept: int = 0
    removed: int = 0
    set_aside: int = 0
    brought_back: int = 0
    damaged: tuple[tuple[str, str], ...] = ()


class Receiver:
    """Receives files into one storage and one repository, within the limits of the settings."""

    def __init__(
        self,
        repository: Repository,
        storage: DirectoryStorage,
        config: Config,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.storage = storage
        self.quota = Quota(repository, storage, config)
        self.in_doubt = InDoubt(repository, storage, self.quota)
        self._repository = repository
        self._now = now
        self._lock = threading.Lock()
        self._uploads: set[Upload] = set()

    def begin(self, client_id: bytes, name: str, announced_bytes: int) -> Upload:
        """Opens an upload of at most `announced_bytes` plain bytes.

        Raises `LimitReached` when the client's quota, the size limit or the free disk space forbids
        it, counting uploads that are under way, and `StorageError`.
        """
        reservation = self.quota.reserve(client_id, name, announced_bytes)
        try:
            upload = Upload(self, reservation)
        except BaseException:  # also what nobody expects must not keep the reservation
            reservation.release()
            raise
        with self._lock:
            self._uploads.add(upload)
        return upload

    def commit(self, upload: Upload, event: Event | None = None) -> None:
        """Publishes an upload whose object is durable. Raises `RepositoryError`."""
        superseded = self._repository.publish_file(
            StoredFile(
                client_id=upload.client_id,
                name=upload.name,
                object_id=upload.object_id,
                size=upload.size,
                cksum=upload.checksum,
                received_at=int(self._now()),
            ),
            event,
        )
        self.release(upload)
        if superseded is not None:
            self.remove_superseded(upload.client_id, superseded)

    def release(self, upload: Upload) -> None:
        """Ends an upload's part in the limits."""
        upload.reservation.release()
        with self._lock:
            self._uploads.discard(upload)

    def recover(self) -> Recovery:
        """Makes disk and database agree, before the first connection is served.

        Raises `StorageError` and `RepositoryError`.
        """
        pending = {upload.object_id for upload in self._repository.pending_uploads()}
        swept = self.storage.sweep_staging(keep=pending)
        removed = sum(self.remove_superseded(*ids) for ids in self._repository.superseded())
        set_aside = self._set_unknown_aside(pending)
        brought_back = 0
        damaged: list[tuple[str, str]] = []
        for client in self._repository.clients():
            for file in self._repository.files(client.id):
                size = self.storage.size(client.id, file.object_id)
                if size is None and self.storage.bring_back(client.id, file.object_id):
                    brought_back += 1
                    size = self.storage.size(client.id, file.object_id)
                if size != file.size:
                    damaged.append((client.name, file.name))
        return Recovery(swept, removed, set_aside, brought_back, tuple(damaged))

    def _set_unknown_aside(self, pending: set[bytes]) -> int:
        replaced = {object_id for _, object_id in self._repository.superseded()}
        moved = 0
        for client_id in self.storage.client_ids():
            known = {file.object_id for file in self._repository.files(client_id)}
            known |= replaced | pending
            for object_id in self.storage.object_ids(client_id):
                if object_id not in known:
                    self.storage.set_aside(client_id, object_id)
                    moved += 1
        return moved

    def sweep(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Removes what no name leads to any more, such as the files of a client that the operator
        removed while the server runs, what the disk kept when it was discarded, and what a commit
        that failed did not keep; how many files. Ends early once `stop` says so.

        Raises `StorageError` and `RepositoryError`.
        """
        removed = self.in_doubt.settle(stop)
        for client_id, object_id in self._repository.superseded():
            if stop():
                break
            self.storage.discard(object_id)  # of a removed client an upload may be unfinished
            removed += self.remove_superseded(client_id, object_id)
        return removed + self.storage.sweep_left_behind()

    def remove_superseded(self, client_id: bytes, object_id: bytes) -> bool:
        """Removes an object that no name leads to any more; False when it stays for now."""
        with self._lock:
            # Its own commit may have been reported lost, and is about to be repeated: that must
            # find the bytes, or the memory that they were replaced.
            if any(upload.object_id == object_id for upload in self._uploads):
                return False
        try:
            self.storage.remove(client_id, object_id)
            self._repository.forget_superseded(object_id)
        except ServerError as error:  # the new file is safe: the next start sweeps the old one
            _log.warning("the replaced object %s stays for now: %s", object_id.hex(), error)
            return False
        return True
