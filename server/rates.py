"""Bandwidth of each client, over all its connections."""

import threading
import time
from collections.abc import Callable


class Rates:
    """A token bucket for each client: one second's worth may be used at once."""

    def __init__(
        self,
        bytes_per_second: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """0 sets no limit."""
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at: dict[bytes, float] = {}

    def take(self, client_id: bytes, size: int) -> None:
        """Waits until the client may move `size` more bytes."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            free_at = max(self._free_at.get(client_id, now), now) + size / self._rate
            self._free_at[client_id] = free_at
        if free_at - now > 1:
            self._sleep(free_at - now - 1)

    def expire(self) -> None:
        """Forgets clients that have been still; called often enough by the server's loop."""
        with self._lock:
            now = self._clock()
            for client_id in [one for one, free_at in self._free_at.items() if free_at < now]:
                del self._free_at[client_id]
