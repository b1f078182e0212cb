"""One way to suffer a fault: under load, then everything that must hold afterwards."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tests.faults.aftermath import Watch
from tests.faults.injection import Injected
from tests.faults.senders import acknowledgements, failures, sending

Fault = Callable[[Watch], AbstractContextManager[Injected]]
"""Breaks something for as long as its context lasts."""


@dataclass
class Outcome:
    """What came of a fault that was tried some times."""

    losses: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    struck: int = 0
    acknowledged: int = 0
    """Files, while the fault lasted."""
    failed: int = 0
    """Tries to send, in all."""

    @property
    def note(self) -> str:
        """What happened meanwhile, for the table."""
        return f"meanwhile {self.acknowledged:,} files acknowledged, {self.failed:,} tries failed"


def suffer(
    watch: Watch,
    fault: Fault,
    *,
    times: int,
    seconds: float,
    reconnecting: bool = False,
    enter: Callable[[], None] = lambda: None,
) -> Outcome:
    """Lets everybody send while the fault lasts, so many seconds, and checks what follows."""
    outcome = Outcome()
    failed = failures(watch.senders)
    for _ in range(times):
        with sending(watch.senders, reconnecting=reconnecting, enter=enter):
            watch.wait_for_more(0)
            before = acknowledgements(watch.senders)
            with fault(watch) as injected:
                time.sleep(seconds)
            outcome.acknowledged += acknowledgements(watch.senders) - before
        since = time.monotonic()
        outcome.recovery.append(watch.serves_next(since))
        outcome.losses += watch.losses()
        outcome.struck += injected.times
    outcome.failed = failures(watch.senders) - failed
    return outcome
