"""AES keys that outlive their connection, for clients that open one for every request.

Off by default: a key that is found by client id lets whoever shares the client's address replay and
alter ciphertext (a padding and checksum oracle). Held in memory only, bound to client id and
address, and for a short time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.receiving import Upload


@dataclass(slots=True)
class Keyed:
    """What a connection leaves behind: its AES key and an upload that awaits its verdict."""

    aes_key: bytes
    awaiting: Upload | None = None


class KeyTable:
    """Keys by client id and address, each for `seconds` after its connection ended."""

    def __init__(
        self, seconds: float, max_entries: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """An entry may hold a staged file open, hence at most `max_entries` of them."""
        self._seconds = seconds
        self._max_entries = max_entries
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[tuple[bytes, str], tuple[float, Keyed]] = {}

    def leave(self, client_id: bytes, address: str, keyed: Keyed) -> bool:
        """Keeps a key for the client's next connection; False when the table is off or full."""
        self.expire()
        with self._lock:
            known = (client_id, address) in self._entries
            if not self._seconds or (not known and len(self._entries) >= self._max_entries):
                return False
            previous = self._entries.pop((client_id, address), None)
            self._entries[client_id, address] = (self._clock() + self._seconds, keyed)
        if previous is not None:
            _discard(previous[1])
        return True

    def take(self, client_id: bytes, address: str) -> Keyed | None:
        """Takes out what this client left from this address, unless its time is over."""
        self.expire()
        with self._lock:
            entry = self._entries.pop((client_id, address), None)
        return entry[1] if entry else None

    def expire(self) -> None:
        """Discards what is over; called on every use, and often enough by the server's loop."""
        self._discard_until(self._clock())

    def clear(self) -> None:
        """Discards everything."""
        self._discard_until(float("inf"))

    def _discard_until(self, moment: float) -> None:
        with self._lock:
            over = [key for key, (deadline, _) in self._entries.items() if deadline <= moment]
            entries = [self._entries.pop(key) for key in over]
        for _, keyed in entries:
            _discard(keyed)


def _discard(keyed: Keyed) -> None:
    if keyed.awaiting is not None:
        keyed.awaiting.discard()
