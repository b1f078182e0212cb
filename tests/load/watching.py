"""What a server process takes up, read from /proc while it runs."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_MIB = 1024  # /proc tells KiB
_KEPT_THREADS = os.cpu_count() or 1  # that sum up segments, from the first one on


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the watch began, MiB of memory, threads and descriptors."""

    seconds: float
    mib: float
    threads: int
    descriptors: int


def look(pid: int, seconds: float = 0.0) -> Sample:
    """What the process takes up now."""
    process = Path("/proc") / str(pid)
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    descriptors = sum(1 for _ in (process / "fd").iterdir())
    memory = int(status["VmRSS"].split()[0]) / _MIB
    return Sample(round(seconds, 1), round(memory, 1), int(status["Threads"]), descriptors)


class Watch:
    """Looks every `every` seconds, in a thread of its own, for as long as the context lasts."""

    def __init__(self, pid: int, every: float = 0.5) -> None:
        self._pid = pid
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self.samples.append(look(self._pid))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(self._every):
            self.samples.append(look(self._pid, time.monotonic() - began))

    @property
    def peak(self) -> Sample:
        """The most of each, whenever it was."""
        return Sample(
            max(sample.seconds for sample in self.samples),
            max(sample.mib for sample in self.samples),
            max(sample.threads for sample in self.samples),
            max(sample.descriptors for sample in self.samples),
        )


def back_to(pid: int, before: Sample, patience_seconds: float) -> Sample:
    """Waits until threads and descriptors are what they were, and tells what they are then.

    Raises `AssertionError` when they are not in time.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        now = look(pid)
        kept = before.threads + _KEPT_THREADS
        if now.threads <= kept and now.descriptors <= before.descriptors:
            return now
        assert time.monotonic() < deadline, f"left behind: {now}, before: {before}"
        time.sleep(0.1)
