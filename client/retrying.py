"""When to try again after a refused or lost connection."""

import random
import time
from collections.abc import Callable

from client.errors import ConnectionFailed

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0


Announce = Callable[[ConnectionFailed, float, int], None]
"""Is told of a failure, of the seconds until the next try, and of that try's number, from 1."""


class Backoff:
    """Waits between tries: twice as long each time, bounded, and never quite the same.

    `retries` is how many failures in a row are followed by another try.
    """

    def __init__(
        self,
        retries: int,
        announce: Announce,
        *,
        sleep: Callable[[float], None] = time.sleep,
        # Not a secret: it keeps clients apart that lost the same server at the same moment.
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._retries = retries
        self._announce = announce
        self._sleep = sleep
        self._jitter = jitter
        self._failures = 0

    def failed(self, error: ConnectionFailed) -> None:
        """Waits before the next try; raises `error` when there is none."""
        if self._failures >= self._retries:
            raise error
        self._failures += 1
        # Bounded before the power is taken: the thousandth retry must not overflow a float.
        doubled = FIRST_WAIT_SECONDS * 2.0 ** min(self._failures - 1, 16)
        seconds = min(LONGEST_WAIT_SECONDS, doubled) * (0.5 + self._jitter() / 2)
        # A server that asks for hours is not waited for: the user had better know.
        seconds = max(seconds, min(LONGEST_WAIT_SECONDS, error.retry_after))
        self._announce(error, seconds, self._failures)
        self._sleep(seconds)

    def answered(self) -> None:
        """The server has answered what it was asked: failures are counted from nought again."""
        self._failures = 0
