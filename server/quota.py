"""What a client, and all clients together, may still store, counting uploads that are under way."""

import threading
from types import TracebackType
from typing import Self

from server.config import Config
from server.errors import LimitReached, QuotaReached, StorageFull, TooLarge
from server.repository import Repository, Usage
from server.storage import DirectoryStorage

# An upload of unknown size reserves this much at a time.
_STEP_BYTES = 64 * 2**20


class Reservation:
    """Room for one upload, from `Quota.reserve` to `release`."""

    def __init__(self, quota: "Quota", client_id: bytes, name: str, size: int | None) -> None:
        self.client_id = client_id
        self.name = name
        self.bytes = _STEP_BYTES if size is None else size
        self.written = 0
        self._quota = quota
        self._grows = size is None

    def write(self, size: int) -> None:
        """Notes `size` more bytes on the disk; raises `LimitReached` beyond what is reserved."""
        written = self.written + size
        if written > self.bytes:
            if not self._grows:
                raise LimitReached(f"more content than the {self.bytes} bytes announced")
            self.bytes = written + _STEP_BYTES
            self._quota.check(self)
        self.written = written

    def release(self) -> None:
        """Gives the room back; harmless when it was given back already."""
        self._quota.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Quota:
    """The limits of the settings, over what is stored and what is on its way."""

    def __init__(self, repository: Repository, storage: DirectoryStorage, config: Config) -> None:
        self._repository = repository
        self._storage = storage
        self._config = config
        self._lock = threading.Lock()
        self._reservations: set[Reservation] = set()
        self._usage: dict[bytes, Usage] = {}
        self._changes = 0

    def reserve(self, client_id: bytes, name: str, size: int | None) -> Reservation:
        """Room for a file of `size` bytes, or of a size that will show.

        Raises `TooLarge`, `QuotaReached`, `StorageFull`, `StorageError` or `RepositoryError`.
        """
        reservation = Reservation(self, client_id, name, size)
        with self._lock:
            self._reservations.add(reservation)
        try:
            self.check(reservation)
        except BaseException:  # also what nobody expects must not keep the reservation
            self.release(reservation)
            raise
        return reservation

    def hold(self, client_id: bytes, name: str, size: int) -> Reservation:
        """Counts `size` bytes that are on the disk already, whatever the limits say."""
        reservation = Reservation(self, client_id, name, size)
        reservation.written = size
        with self._lock:
            self._reservations.add(reservation)
        return reservation

    def check(self, reservation: Reservation) -> None:
        """Raises as `reserve` does unless the limits allow this reservation beside all others."""
        client_id = reservation.client_id
        # In this order a file that is published meanwhile counts twice, never not at all.
        with self._lock:
            others = self._reservations - {reservation}
            usage = self._usage.get(client_id)
            changes = self._changes
        if usage is None:
            usage = self._repository.usage(client_id)
            with self._lock:
                if changes == self._changes:
                    self._usage[client_id] = usage
        is_new = self._repository.find_file(client_id, reservation.name) is None
        own = [other for other in others if other.client_id == client_id]
        limits = self._config
        if reservation.bytes > limits.max_file_bytes:
            raise TooLarge(f"a file may have {limits.max_file_bytes} bytes")
        if usage.files + len(own) + is_new > limits.max_files_per_client:
            raise QuotaReached(f"a client may keep {limits.max_files_per_client} files")
        # While it is replaced a file takes its space twice, so its size stays counted.
        size = usage.size + sum(other.bytes for other in own) + reservation.bytes
        if size > limits.max_bytes_per_client:
            raise QuotaReached(f"a client may keep {limits.max_bytes_per_client} bytes")
        self.check_free_space()

    def check_free_space(self) -> None:
        """Raises `StorageFull` when what is reserved leaves less than is to be kept free."""
        with self._lock:
            pending = sum(other.bytes - other.written for other in self._reservations)
        if self._storage.free_bytes() - pending < self._config.min_free_bytes:
            raise StorageFull("the disk is full up to what is kept free")

    def release(self, reservation: Reservation) -> None:
        """Ends a reservation; what it was for has been committed or given up by now."""
        with self._lock:
            self._reservations.discard(reservation)
        self.changed(reservation.client_id)

    def changed(self, client_id: bytes) -> None:
        """Has the client's stored files added up anew, which takes longer the more there are."""
        with self._lock:
            self._usage.pop(client_id, None)
            self._changes += 1
