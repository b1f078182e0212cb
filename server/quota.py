"""What a client, and all clients together, may still store, counting uploads that are under way."""

import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from server.config import Config
from server.errors import LimitReached, QuotaReached, StorageFull, TooLarge
from server.repository import Repository, Usage
from server.storage import DirectoryStorage

# An upload of unknown size reserves this much at a time.
_STEP_BYTES = 64 * 2**20
# How long the free space of the disk is taken for what it was; far less can be written meanwhile
# than is kept free.
_FREE_SPACE_SECONDS = 0.05
_NOTHING = Usage(0, 0)
_SEVERAL = ""  # the name in a reservation for more than one file: that none can have


class Reservation:
    """Room for one upload, or for some small files together, from `Quota.reserve` to `release`."""

    def __init__(
        self, quota: "Quota", client_id: bytes, name: str, size: int | None, files: int = 1
    ) -> None:
        self.client_id = client_id
        self.name = name
        self.files = files
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
            self._quota.grow(self, written + _STEP_BYTES)
        self._quota.note_written(self, size)

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
        # What all reservations of a client add up to; all of them are looked at for every file.
        self._reservations: set[Reservation] = set()
        self._reserved: dict[bytes, Usage] = {}
        self._unwritten = 0
        self._usage: dict[bytes, Usage] = {}
        self._changes = 0
        self._free_bytes = 0
        self._free_known_until = 0.0

    def reserve(self, client_id: bytes, name: str, size: int | None) -> Reservation:
        """Room for a file of `size` bytes, or of a size that will show.

        Raises `TooLarge`, `QuotaReached`, `StorageFull`, `StorageError` or `RepositoryError`.
        """
        return self._reserved_room(Reservation(self, client_id, name, size))

    def _reserved_room(self, reservation: Reservation) -> Reservation:
        with self._lock:
            self._add(reservation)
        try:
            self.check(reservation)
        except BaseException:  # also what nobody expects must not keep the reservation
            with self._lock:  # nothing came of it: what is stored need not be added up again
                self._remove(reservation)
            raise
        return reservation

    def reserve_files(self, client_id: bytes, sizes: Sequence[int]) -> Reservation:
        """Room for files of these sizes, all under names that are new; raises as `reserve` does.

        For who is refused there may be room for some of them, or for those that replace others.
        """
        if max(sizes) > self._config.max_file_bytes:
            raise TooLarge(f"a file may have {self._config.max_file_bytes} bytes")
        return self._reserved_room(Reservation(self, client_id, _SEVERAL, sum(sizes), len(sizes)))

    def hold(self, client_id: bytes, name: str, size: int) -> Reservation:
        """Counts `size` bytes that are on the disk already, whatever the limits say."""
        reservation = Reservation(self, client_id, name, size)
        reservation.written = size
        with self._lock:
            self._add(reservation)
        return reservation

    def grow(self, reservation: Reservation, size: int) -> None:
        """Reserves `size` bytes instead of what was; raises as `reserve` does."""
        with self._lock:
            held = reservation in self._reservations
            if held:
                self._remove(reservation)
            reservation.bytes = size
            if held:
                self._add(reservation)
        self.check(reservation)

    def note_written(self, reservation: Reservation, size: int) -> None:
        """So many bytes more of what is reserved are on the disk."""
        with self._lock:
            reservation.written += size
            if reservation in self._reservations:
                self._unwritten -= size

    def check(self, reservation: Reservation) -> None:
        """Raises as `reserve` does unless the limits allow this reservation beside all others."""
        client_id = reservation.client_id
        # In this order a file that is published meanwhile counts twice, never not at all.
        with self._lock:
            reserved = self._reserved.get(client_id, _NOTHING)
            usage = self._usage.get(client_id)
            changes = self._changes
        if usage is None:
            usage = self._repository.usage(client_id)
            with self._lock:
                if changes == self._changes:
                    self._usage[client_id] = usage
        limits = self._config
        name = reservation.name
        if name != _SEVERAL and reservation.bytes > limits.max_file_bytes:
            raise TooLarge(f"a file may have {limits.max_file_bytes} bytes")
        # Whether there is a file to be replaced is asked only where it matters.
        too_many = usage.files + reserved.files > limits.max_files_per_client
        if too_many and name != _SEVERAL and self._repository.find_file(client_id, name):
            too_many = usage.files + reserved.files - 1 > limits.max_files_per_client
        if too_many:
            raise QuotaReached(f"a client may keep {limits.max_files_per_client} files")
        # While it is replaced a file takes its space twice, so its size stays counted.
        if usage.size + reserved.size > limits.max_bytes_per_client:
            raise QuotaReached(f"a client may keep {limits.max_bytes_per_client} bytes")
        self.check_free_space()

    def check_free_space(self) -> None:
        """Raises `StorageFull` when what is reserved leaves less than is to be kept free."""
        now = time.monotonic()
        if now >= self._free_known_until:
            self._free_bytes = self._storage.free_bytes()
            self._free_known_until = now + _FREE_SPACE_SECONDS
        if self._free_bytes - self._unwritten < self._config.min_free_bytes:
            raise StorageFull("the disk is full up to what is kept free")

    def release(self, reservation: Reservation) -> None:
        """Ends a reservation; what it was for has been committed or given up by now."""
        with self._lock:
            if reservation in self._reservations:
                self._remove(reservation)
            # At once: what was committed must never count nowhere.
            self._forget_usage(reservation.client_id)

    def _add(self, reservation: Reservation) -> None:
        self._reservations.add(reservation)
        self._count(reservation, 1)

    def _remove(self, reservation: Reservation) -> None:
        self._reservations.discard(reservation)
        self._count(reservation, -1)

    def _count(self, reservation: Reservation, sign: int) -> None:
        client_id, before = (
            reservation.client_id,
            self._reserved.get(reservation.client_id, _NOTHING),
        )
        now = Usage(before.files + sign * reservation.files, before.size + sign * reservation.bytes)
        if now.files:
            self._reserved[client_id] = now
        else:
            self._reserved.pop(client_id, None)
        self._unwritten += sign * (reservation.bytes - reservation.written)

    def changed(self, client_id: bytes) -> None:
        """Has the client's stored files added up anew, which takes longer the more there are."""
        with self._lock:
            self._forget_usage(client_id)

    def _forget_usage(self, client_id: bytes) -> None:
        self._usage.pop(client_id, None)
        self._changes += 1
