"""The audit trail while the server runs: who did what, when, from where, and what came of it.

The event of uploads is part of the transaction that publishes them (`Repository.publish`). All else
goes through `Audit.record`, which costs the caller no wait for the disk: the event is in the log at
once and in the database within a second, with what came meanwhile. A crash may cost the trail that
last second, never an upload.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from server.errors import ServerError
from server.repository import DONE, Event, Repository

_log = logging.getLogger("server.audit")

_EVERY_SECONDS = 1.0
_MOST_WAITING = 10_000
_AT_ONCE = 500
_REMIND_SECONDS = 600.0


class Audit:
    """Appends events to the trail, from any thread; `close` when the server ends."""

    def __init__(
        self,
        repository: Repository,
        *,
        every_seconds: float = _EVERY_SECONDS,
        most_waiting: int = _MOST_WAITING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At most `most_waiting` events wait for a database that does not answer; the oldest ones
        are then in the log alone, and the log says how many. It tells when such a time begins and
        ends, and in between every ten minutes."""
        self._repository = repository
        self._every_seconds = every_seconds
        self._most_waiting = most_waiting
        self._clock = clock
        self._waiting: deque[Event] = deque()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._lost = 0
        self._told_at: float | None = None  # None while the trail is written
        self._thread = threading.Thread(target=self._write_on, name="audit", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> None:
        """Tells the log, and the database a little later; never waits and never raises."""
        log(event)
        with self._lock:
            self._waiting.append(event)
            if len(self._waiting) > self._most_waiting:
                self._waiting.popleft()
                self._lost += 1

    def close(self) -> None:
        """Writes what waits, once, and ends."""
        self._end.set()
        self._thread.join()

    def _write_on(self) -> None:
        while not self._end.wait(self._every_seconds):
            self._write()
        self._write()
        with self._lock:
            missing = self._lost + len(self._waiting)
        if missing:
            _log.error("%d events are in the log and not in the audit trail", missing)

    def _write(self) -> None:
        while events := self._some():
            try:
                self._repository.record(events)
            except ServerError as error:
                self._tell_failure(error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the trail must go on
                self._tell_failure(error, exc_info=True)
                return
            with self._lock:
                # From the left some may have been dropped in the meantime.
                written = {event.id for event in events}
                while self._waiting and self._waiting[0].id in written:
                    self._waiting.popleft()
                lost, self._lost = self._lost, 0
            if self._told_at is not None:
                self._told_at = None
                _log.warning("the audit trail is written again")
            if lost:
                _log.error("%d events are in the log and not in the audit trail", lost)

    def _tell_failure(self, error: Exception, *, exc_info: bool = False) -> None:
        now = self._clock()
        if self._told_at is not None and now < self._told_at + _REMIND_SECONDS:
            return
        self._told_at = now
        with self._lock:
            waiting, lost = len(self._waiting), self._lost
        _log.error(
            "the audit trail cannot be written: %s; events that wait: %d, in the log alone: %d",
            error, waiting, lost, exc_info=exc_info,
        )  # fmt: skip

    def _some(self) -> list[Event]:
        with self._lock:
            return [self._waiting[at] for at in range(min(len(self._waiting), _AT_ONCE))]


def log(event: Event) -> None:
    """One line in the log for an event."""
    fields = {
        "action": event.action.value,
        "outcome": event.outcome,
        "client": event.client or (event.client_id.hex() if event.client_id else ""),
        "address": event.address,
        "operator": event.operator,
        "subjects": ", ".join(event.subjects),
        "target": event.target,
        "bytes": event.size,
    }
    extra = {name: value for name, value in fields.items() if value not in (None, "")}
    level = logging.INFO if event.outcome == DONE else logging.WARNING
    _log.log(level, "audit", extra=extra)
