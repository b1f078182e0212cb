"""Tickets for data connections (section 1.2): one use, for a short time, in memory only."""

import hashlib
import os
import threading
import time
from collections.abc import Callable

from protocol.contexts import TICKET_BYTES
from server.openuploads import OpenUploads

TICKET_SECONDS = 30.0


class Tickets:
    """The tickets of one server that have been given out and not used."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # By SHA-256: how long a look-up takes tells nothing about a ticket.
        self._issued: dict[bytes, tuple[OpenUploads, float]] = {}

    def issue(self, uploads: OpenUploads) -> bytes:
        """A ticket (32 bytes) for a data connection of the control connection with these uploads;
        an earlier one of the same is void."""
        ticket = os.urandom(TICKET_BYTES)
        with self._lock:
            self._drop(lambda held, _: held is uploads)
            self._issued[_digest(ticket)] = (uploads, self._clock() + TICKET_SECONDS)
        return ticket

    def redeem(self, ticket: bytes) -> OpenUploads | None:
        """What the ticket was issued for; None when it is unknown, used or too old."""
        with self._lock:
            uploads, expires = self._issued.pop(_digest(ticket), (None, 0.0))
        return uploads if self._clock() < expires else None

    def revoke(self, uploads: OpenUploads) -> None:
        """Makes the ticket of a control connection that has ended void."""
        with self._lock:
            self._drop(lambda held, _: held is uploads)

    def expire(self) -> None:
        """Forgets what is too old; called often enough by the server's loop."""
        now = self._clock()
        with self._lock:
            self._drop(lambda _, expires: expires <= now)

    def _drop(self, unwanted: Callable[[OpenUploads, float], bool]) -> None:
        for digest in [key for key, value in self._issued.items() if unwanted(*value)]:
            del self._issued[digest]


def _digest(ticket: bytes) -> bytes:
    return hashlib.sha256(ticket).digest()
