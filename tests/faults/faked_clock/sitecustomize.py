"""Makes `time.sleep` work in a Python whose clock libfaketime fakes: it sleeps until a moment of
the monotonic clock, and libfaketime 0.9.10 takes that for one of the wall clock."""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex) -> None:
    select.select((), (), (), float(seconds))


time.sleep = _sleep
