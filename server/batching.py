"""The small files of one connection that wait for the disk, published while others arrive."""

import threading

from server.repository import Event
from server.smallfiles import Arrived, SmallFiles

_BATCH_FILES = 2048
_BATCH_BYTES = 16 * 2**20
# Fewer are on the disk before another thread has woken.
_WORTH_A_THREAD_FILES = 8


class Batches:
    """What has come and is not answered, in the order in which it came.

    One batch at a time is made durable by a thread of its own, since the disk needs no processor;
    the next batch is what comes meanwhile.
    """

    def __init__(self, small_files: SmallFiles) -> None:
        self._small_files = small_files
        self._waiting: list[Arrived] = []
        self._files = 0
        self._bytes = 0
        self._running: _Publication | None = None

    def __bool__(self) -> bool:
        return bool(self._waiting) or self._running is not None

    def add(self, arrived: Arrived, event: Event) -> list[Arrived]:
        """Adds what has come; what is answered by now, in its order, after a wait when too much
        would wait otherwise. The `event` tells the audit trail who publishes."""
        self._waiting.append(arrived)
        self._files += len(arrived.files)
        self._bytes += arrived.size
        full = self._files >= _BATCH_FILES or self._bytes >= _BATCH_BYTES
        done = self._collect(None if full else 0.0)
        if self._running is None and self._files >= _WORTH_A_THREAD_FILES:
            self._running = _Publication(self._small_files, self._take(), event)
            self._running.start()
        return done

    def finish(self, event: Event, patience: float | None = None) -> list[Arrived]:
        """Publishes all that waits, and returns all; with `patience`, in seconds, only when the
        thread has ended by then."""
        done = self._collect(patience)
        if self._waiting and self._running is None:
            waiting = self._take()
            self._small_files.publish(waiting, event)
            done += waiting
        return done

    def _take(self) -> list[Arrived]:
        waiting, self._waiting = self._waiting, []
        self._files = self._bytes = 0
        return waiting

    def _collect(self, patience: float | None) -> list[Arrived]:
        if self._running is None:
            return []
        self._running.join(patience)
        if self._running.is_alive():
            return []
        running, self._running = self._running, None
        return running.published()


class _Publication(threading.Thread):
    def __init__(self, small_files: SmallFiles, batch: list[Arrived], event: Event) -> None:
        super().__init__(name="publication")
        self._small_files = small_files
        self._batch = batch
        self._event = event
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._small_files.publish(self._batch, self._event)
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            self._error = error

    def published(self) -> list[Arrived]:
        if self._error is not None:
            raise self._error
        return self._batch
