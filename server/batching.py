"""The small files of one connection that wait for the disk, synced while others arrive."""

import threading
from collections.abc import Callable

from server.repository import Event
from server.smallfiles import Arrived, SmallFiles

# When as much waits it is synced, at the latest when twice as much does.
_BATCH_FILES = 1024
_BATCH_BYTES = 8 * 2**20


class Batches:
    """What has come and is not answered, in the order in which it came.

    One batch at a time is synced by a thread of its own, which needs no processor, while the next
    one is written. The database is this thread's: two that want the interpreter delay each other.
    """

    def __init__(self, small_files: SmallFiles) -> None:
        self._small_files = small_files
        self._waiting: list[Arrived] = []
        self._files = 0
        self._bytes = 0
        self._syncing: _Sync | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting) or self._syncing is not None

    def add(self, arrived: Arrived, event: Callable[[], Event]) -> list[Arrived]:
        """Adds what has come; what is published by now, in its order, after a wait when too much
        would wait otherwise. `event` makes what tells the audit trail who publishes: another one
        for each commit, since the trail has room for each event once."""
        self._waiting.append(arrived)
        self._files += len(arrived.files)
        self._bytes += arrived.message_bytes  # also of what was refused: its names wait, too
        done = self._publish_synced(event, None if self._exceeds(2) else 0.0)
        if self._syncing is None and self._exceeds(1):
            self._syncing = _Sync(self._small_files, self._take())
            self._syncing.begin()
        return done

    def finish(self, event: Callable[[], Event], patience: float | None = None) -> list[Arrived]:
        """Publishes all that waits, and returns it; with `patience`, in seconds, only when what is
        being synced is on the disk by then."""
        done = self._publish_synced(event, patience)
        if self._waiting and self._syncing is None:
            waiting = self._take()
            self._small_files.make_durable(waiting)
            self._small_files.publish(waiting, event())
            done += waiting
        return done

    def _exceeds(self, batches: int) -> bool:
        return self._files >= batches * _BATCH_FILES or self._bytes >= batches * _BATCH_BYTES

    def _take(self) -> list[Arrived]:
        waiting, self._waiting = self._waiting, []
        self._files = self._bytes = 0
        return waiting

    def _publish_synced(self, event: Callable[[], Event], patience: float | None) -> list[Arrived]:
        syncing = self._syncing
        if syncing is None or not syncing.ended.wait(patience):
            return []
        self._syncing = None
        batch = syncing.synced()
        self._small_files.publish(batch, event())
        return batch


class _Sync(threading.Thread):
    def __init__(self, small_files: SmallFiles, batch: list[Arrived]) -> None:
        super().__init__(name="sync")
        self._batch = batch
        self._small_files = small_files
        self._error: BaseException | None = None
        self.ended = threading.Event()

    def begin(self) -> None:
        try:
            self.start()
        except RuntimeError:  # the system has no thread left: this one can do it as well
            self.run()

    def run(self) -> None:
        try:
            self._small_files.make_durable(self._batch)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            self._error = error
        finally:
            self.ended.set()

    def synced(self) -> list[Arrived]:
        if self._error is not None:
            raise self._error
        return self._batch
