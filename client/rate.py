"""How fast bytes may travel."""

import time
from collections.abc import Callable


class RateLimit:
    """A bucket of tokens, one for each byte, that fills at `bytes_per_second`.

    It holds a tenth of a second's worth: bursts stay short.
    """

    def __init__(
        self,
        bytes_per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self.burst_bytes = max(1, min(1 << 16, bytes_per_second // 10))
        """How much to send or receive at most before `spend` is told of it."""
        self._tokens = float(self.burst_bytes)
        self._filled_at = clock()

    def spend(self, size: int) -> None:
        """Notes that `size` bytes have travelled; waits until the rate is kept again."""
        now = self._clock()
        filled = self._tokens + (now - self._filled_at) * self._rate
        self._tokens = min(float(self.burst_bytes), filled) - size
        self._filled_at = now
        if self._tokens < 0:
            self._sleep(-self._tokens / self._rate)
