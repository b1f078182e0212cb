"""The audit trail while the server runs: who did what, when, from where, and what came of it.

The event of uploads is part of the transaction that publishes them (`Repository.publish`). All else
goes through `Audit.record`, which costs the caller no wait for the disk: the event is in the log at
once and in the database within a second, with what came meanwhile. A crash may cost the trail that
last second, never an upload.
"""

import logging
import threading
from collections import deque

from server.errors import ServerError
from server.repository import DONE, Event, Repository

_log = logging.getLogger("server.audit")

_EVERY_SECONDS = 1.0
_MOST_WAITING = 10_000
_AT_ONCE = 500


class Audit:
    """Appends events to the trail, from any thread; `close` when the server ends."""

    def __init__(
        self,
        repository: Repository,
        *,
        every_seconds: float = _EVERY_SECONDS,
        most_waiting: int = _MOST_WAITING,
    ) -> None:
        """At most `most_waiting` events wait for a database that does not answer; the oldest ones
        are then in the log alone, and the log says how many."""
        self._repository = repository
        self._every_seconds = every_seconds
        self._most_waiting = most_waiting
        self._waiting: deque[Event] = deque()
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._lost = 0
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

    def _write(self) -> None:
        while events := self._some():
            try:
                self._repository.record(events)
            except ServerError as error:
                _log.error("%d events wait to be put in the audit trail: %s", len(events), error)
                return
            except Exception:  # noqa: BLE001 - whatever it is, the trail must go on
                _log.exception("%d events wait to be put in the audit trail", len(events))
                return
            with self._lock:
                # From the left some may have been dropped in the meantime.
                written = {event.id for event in events}
                while self._waiting and self._waiting[0].id in written:
                    self._waiting.popleft()
                lost, self._lost = self._lost, 0
            if lost:
                _log.error("%d events are in the log and not in the audit trail", lost)

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
