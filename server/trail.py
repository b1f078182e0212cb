"""What one connection tells the audit trail: who did what, from where, and what came of it."""

from server.audit import Audit
from server.repository import DONE, Action, Client, Event


class Trail:
    """Makes and records the events of one connection."""

    def __init__(self, audit: Audit, address: str) -> None:
        self._audit = audit
        self._address = address

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

    def tell(self, event: Event) -> None:
        """Records it; neither waits nor fails."""
        self._audit.record(event)
