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

from protocol.cksum import Cksum
from server.config import Config
from server.errors import LimitReached, ServerError, StorageError
from server.repository import Repository, StoredFile, Usage
from server.storage import DirectoryStorage

_log = logging.getLogger(__name__)

UPLOAD_ID_BYTES = 16


class Upload:
    """One file on its way in. Ends with `publish` or `discard`; until then it counts in limits."""

    def __init__(
        self, receiver: "Receiver", client_id: bytes, name: str, announced_bytes: int
    ) -> None:
        self.client_id = client_id
        self.name = name
        self.announced_bytes = announced_bytes
        self.upload_id = os.urandom(UPLOAD_ID_BYTES)
        self._receiver = receiver
        self._staged = receiver.storage.stage(self.upload_id)
        self._cksum = Cksum()
        self._synced = False
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
        if self.size + len(plain) > self.announced_bytes:
            raise LimitReached(f"more content than the {self.announced_bytes} bytes announced")
        self._cksum.update(plain)
        self._staged.write(plain)

    def publish(self) -> None:
        """Makes the file durable and visible under its name, in place of an older one.

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
            self._receiver.storage.publish(self.client_id, self.upload_id)
        except StorageError:
            self.discard()
            raise
        self._receiver.commit(self)

    def discard(self) -> None:
        """Gives up the upload and its bytes; harmless when it has ended already."""
        self._given_up = True
        try:
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
        self._repository = repository
        self._config = config
        self._now = now
        self._lock = threading.Lock()
        self._uploads: set[Upload] = set()

    def begin(self, client_id: bytes, name: str, announced_bytes: int) -> Upload:
        """Opens an upload of at most `announced_bytes` plain bytes.

        Raises `LimitReached` when the client's quota, the size limit or the free disk space forbids
        it, counting uploads that are under way, and `StorageError`.
        """
        upload = Upload(self, client_id, name, announced_bytes)
        try:
            # In this order a file that is published meanwhile counts twice, never not at all.
            with self._lock:
                under_way = set(self._uploads)
                self._uploads.add(upload)
            usage = self._repository.usage(client_id)
            is_new = self._repository.find_file(client_id, name) is None
            self._check_limits(upload, under_way, usage, is_new=is_new)
        except BaseException:  # also what nobody expects must not keep the reservation
            upload.discard()
            raise
        return upload

    def check_free_space(self, wanted_bytes: int = 0) -> None:
        """Raises `LimitReached` unless so much may still be written."""
        with self._lock:
            pending = sum(other.announced_bytes - other.size for other in self._uploads)
        if self.storage.free_bytes() - pending - wanted_bytes < self._config.min_free_bytes:
            raise LimitReached("the disk is full up to what is kept free")

    def _check_limits(
        self, upload: Upload, under_way: set[Upload], usage: Usage, *, is_new: bool
    ) -> None:
        limits = self._config
        own = [other for other in under_way if other.client_id == upload.client_id]
        files = usage.files + len(own) + is_new
        # While it is replaced a file takes its space twice, so its size stays counted.
        size = usage.size + sum(other.announced_bytes for other in own) + upload.announced_bytes
        if upload.announced_bytes > limits.max_file_bytes:
            raise LimitReached(f"a file may have {limits.max_file_bytes} bytes")
        if files > limits.max_files_per_client:
            raise LimitReached(f"a client may keep {limits.max_files_per_client} files")
        if size > limits.max_bytes_per_client:
            raise LimitReached(f"a client may keep {limits.max_bytes_per_client} bytes")
        self.check_free_space()

    def commit(self, upload: Upload) -> None:
        """Publishes an upload whose object is durable. Raises `RepositoryError`."""
        superseded = self._repository.publish_file(
            StoredFile(
                client_id=upload.client_id,
                name=upload.name,
                upload_id=upload.upload_id,
                size=upload.size,
                cksum=upload.checksum,
                received_at=int(self._now()),
            )
        )
        self.release(upload)
        if superseded is not None:
            self._remove_superseded(upload.client_id, superseded)

    def release(self, upload: Upload) -> None:
        """Ends an upload's part in the limits."""
        with self._lock:
            self._uploads.discard(upload)

    def recover(self) -> Recovery:
        """Makes disk and database agree, before the first connection is served.

        Raises `StorageError` and `RepositoryError`.
        """
        swept = self.storage.sweep_staging()
        removed = sum(self._remove_superseded(*ids) for ids in self._repository.superseded())
        set_aside = self._set_unknown_aside()
        brought_back = 0
        damaged: list[tuple[str, str]] = []
        for client in self._repository.clients():
            for file in self._repository.files(client.id):
                size = self.storage.size(client.id, file.upload_id)
                if size is None and self.storage.bring_back(client.id, file.upload_id):
                    brought_back += 1
                    size = self.storage.size(client.id, file.upload_id)
                if size != file.size:
                    damaged.append((client.name, file.name))
        return Recovery(swept, removed, set_aside, brought_back, tuple(damaged))

    def _set_unknown_aside(self) -> int:
        replaced = {upload_id for _, upload_id in self._repository.superseded()}
        moved = 0
        for client_id in self.storage.client_ids():
            known = {file.upload_id for file in self._repository.files(client_id)} | replaced
            for upload_id in self.storage.upload_ids(client_id):
                if upload_id not in known:
                    self.storage.set_aside(client_id, upload_id)
                    moved += 1
        return moved

    def _remove_superseded(self, client_id: bytes, upload_id: bytes) -> bool:
        with self._lock:
            # Its own commit may have been reported lost, and is about to be repeated: that must
            # find the bytes, or the memory that they were replaced.
            if any(upload.upload_id == upload_id for upload in self._uploads):
                return False
        try:
            self.storage.remove(client_id, upload_id)
            self._repository.forget_superseded(upload_id)
        except ServerError as error:  # the new file is safe: the next start sweeps the old one
            _log.warning("the replaced object %s stays for now: %s", upload_id.hex(), error)
            return False
        return True
