"""The audit trail as a connection writes it: who did what, from where, and what came of it.

What is published is told by the transaction that publishes it (`server.repository`); all the rest
is told here.
"""

import logging

from server.repository import DONE, Action, Client, Event, Repository, RepositoryError

_log = logging.getLogger(__name__)

# A download changes nothing, and a sync for each would cost more than a small one itself.
_MOST_WAITING = 64


class Trail:
    """Tells of one connection; what it has told is durable after `flush`."""

    def __init__(self, repository: Repository, address: str) -> None:
        self._repository = repository
        self._address = address
        self._waiting: list[Event] = []

    def event(
        self,
        action: Action,
        client: Client | None,
        failure: Exception | None = None,
        *,
        name: str | None = None,
        subjects: tuple[str, ...] = (),
        target: str | None = None,
        size: int | None = None,
    ) -> Event:
        """An event of this connection; `name` is that of a client who is not known by it yet."""
        return Event(
            action,
            DONE if failure is None else type(failure).__name__,
            client_id=client.id if client else None,
            client=client.name if client else name,
            address=self._address,
            subjects=subjects,
            target=target,
            size=size,
        )

    def tell(self, event: Event, *, at_once: bool = True) -> None:
        """Keeps an event, or lets it wait for others or for the end of the connection."""
        self._waiting.append(event)
        if at_once or len(self._waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Keeps what waits. What the database refuses is only in the log."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        try:
            self._repository.record(waiting)
        except RepositoryError as error:
            _log.error("%d entries are missing in the audit trail: %s", len(waiting), error)
