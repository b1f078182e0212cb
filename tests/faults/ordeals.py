"""The ways to suffer a fault: something happens, and then everything must hold that has to."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from tests.faults.aftermath import Watch
from tests.faults.injection import Injected
from tests.faults.senders import acknowledgements, failures, sending

Fault = Callable[[Watch], AbstractContextManager[Injected]]
"""Breaks something for as long as its context lasts."""
Incident = Callable[[int], float]
"""Lets something happen, for the so-many-eth time from 0; the moment of the monotonic clock from
which on the server is to recover."""

_MORE_TIMES = 5


@dataclass
class Outcome:
    """What came of a fault that was tried some times."""

    times: int
    losses: list[str] = field(default_factory=list)
    recovery: list[float] = field(default_factory=list)
    struck: int = 0
    acknowledged: int = 0
    """Files, while the fault lasted."""
    failed: int = 0
    """Tries to send, in all."""
    restarts: int = 0
    """How often it took a restart to make disk and database agree to the last object."""

    @property
    def note(self) -> str:
        """What happened meanwhile, for the table."""
        return f"meanwhile {self.acknowledged:,} files acknowledged, {self.failed:,} tries failed"


def endure(
    watch: Watch,
    incident: Incident,
    *,
    times: int,
    serves: Callable[[float], float] | None = None,
) -> Outcome:
    """Lets something happen again and again; each time the server serves the next client, which
    takes the seconds that `serves` tells, and has lost nothing."""
    outcome = Outcome(times)
    failed, restarts = failures(watch.senders), watch.restarts
    for number in range(times):
        process = watch.server.pid
        since = incident(number)
        outcome.recovery.append((serves or watch.serves_next)(since))
        if watch.server.pid != process:
            watch.remember()
        outcome.losses += watch.losses()
    outcome.failed = failures(watch.senders) - failed
    outcome.restarts = watch.restarts - restarts
    return outcome


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
    acknowledged = struck = 0

    def incident(_number: int) -> float:
        nonlocal acknowledged, struck
        with sending(watch.senders, reconnecting=reconnecting, enter=enter):
            watch.wait_for_more(0)
            before = acknowledgements(watch.senders)
            with fault(watch) as injected:
                time.sleep(seconds)
            acknowledged += acknowledgements(watch.senders) - before
        struck += injected.times
        return time.monotonic()

    outcome = endure(watch, incident, times=times)
    for _ in range(_MORE_TIMES):
        if not struck:  # on a busy machine nobody may have got as far as where it strikes
            outcome.losses += endure(watch, incident, times=1).losses
    assert struck > 0
    outcome.acknowledged, outcome.struck = acknowledged, struck
    return outcome
