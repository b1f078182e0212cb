"""Objects whose transaction is in doubt: its commit failed, and may have been carried out.

They have their place on the disk and no acknowledgement. Until the database tells what became of
them they count in their client's limits; what it did not keep is removed then.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from server.errors import StorageError
from server.quota import Quota, Reservation
from server.repository import Repository
from server.storage import DirectoryStorage

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Object:
    client_id: bytes
    object_id: bytes
    reservation: Reservation


class InDoubt:
    """All such objects of one server; the next start finds what this one leaves."""

    def __init__(self, repository: Repository, storage: DirectoryStorage, quota: Quota) -> None:
        self._repository = repository
        self._storage = storage
        self._quota = quota
        self._lock = threading.Lock()
        self._objects: list[_Object] = []

    def add(self, client_id: bytes, object_id: bytes, name: str, size: int) -> None:
        """Counts an object of `size` bytes that nobody is going to publish again; call it before
        the room that was reserved for it is given back."""
        added = _Object(client_id, object_id, self._quota.hold(client_id, name, size))
        with self._lock:
            self._objects.append(added)

    def settle(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Asks the database, and removes the objects that it does not know; how many. Ends early
        once `stop` says so. What cannot be removed goes on to count. Raises `RepositoryError`, and
        may be called again."""
        with self._lock:
            objects = tuple(self._objects)
        by_client: dict[bytes, list[_Object]] = defaultdict(list)
        for each in objects:
            by_client[each.client_id].append(each)
        removed = 0
        for client_id, doubtful in by_client.items():
            known = self._repository.known_objects(client_id, [each.object_id for each in doubtful])
            for each in doubtful:
                if stop():
                    return removed
                try:
                    if each.object_id not in known:
                        self._storage.remove(client_id, each.object_id)
                        removed += 1
                except StorageError as error:
                    _log.warning("an object that was not published stays for now: %s", error)
                else:
                    self._forget(each)
        return removed

    def _forget(self, settled: _Object) -> None:
        with self._lock:
            self._objects.remove(settled)
        settled.reservation.release()
