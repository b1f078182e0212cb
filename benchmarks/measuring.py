"""Runs commands and measures them: time, processor time of both sides, peak memory, disturbance."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.accounting import (
    busy_seconds,
    kernel_seconds,
    others_share,
    peak_bytes,
    processes,
    reset_peak,
    tree,
    tree_seconds,
)
from benchmarks.errors import RunFailed
from benchmarks.watching import watching

_LONGEST_SECONDS = 3600.0
_SETTLE_SECONDS = 3.0
_POLL_SECONDS = 0.01
_ERROR_LINES = 5


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run; `environment` is added to ours."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run took: times in seconds, memory in bytes.

    `client` is the process trees of the commands, `server` those of the servers. A peak is the
    largest memory of the whole tree at any time that was looked at, shared pages counted once, or
    the largest resident set of one of its processes where that is more; None when the run was too
    short to look. `others` is the share of the machine that other processes took.
    """

    seconds: float
    client_cpu: float
    server_cpu: float
    client_peak: int | None
    server_peak: int | None
    others: float
    failures: int
    outputs: tuple[str, ...]


def measure(
    batches: Sequence[Sequence[Command]],
    servers: Collection[int],
    directory: Path,
    *,
    may_fail: bool = False,
) -> Measurement:
    """Runs the batches one after another, the commands of a batch at once.

    `servers` are the process ids of the servers; what commands print goes to `directory`. Raises
    `RunFailed` when a command fails, unless `may_fail` (then failures are counted).
    """
    for pid in servers:
        reset_peak(pid)
    running = _Running(directory)
    with watching(running.roots, servers) as peaks:
        before = _Snapshot.now(servers)
        for batch in batches:
            running.run(batch)
        ended = time.perf_counter()
        _settle(servers, before.server_pids)
        after = _Snapshot.now(servers)
    failures = running.failures()
    if failures and not may_fail:
        raise RunFailed(failures[0])
    client_cpu = running.cpu_seconds
    server_cpu = max(0.0, after.server - before.server)
    own = client_cpu + server_cpu + after.harness - before.harness + after.kernel - before.kernel
    return Measurement(
        seconds=ended - before.when,
        client_cpu=client_cpu,
        server_cpu=server_cpu,
        client_peak=peaks.client or None,
        server_peak=max([peaks.server, *map(peak_bytes, servers)]) or None,
        others=others_share(
            after.busy - before.busy, own, after.when - before.when, os.cpu_count() or 1
        ),
        failures=len(failures),
        outputs=running.outputs(),
    )


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The machine's clocks at one moment, in seconds."""

    when: float
    busy: float
    kernel: float
    server: float
    harness: float
    server_pids: frozenset[int]

    @classmethod
    def now(cls, servers: Collection[int]) -> "_Snapshot":
        table = processes()
        return cls(
            busy=busy_seconds(),
            kernel=kernel_seconds(table),
            server=tree_seconds(table, servers),
            harness=time.process_time(),
            server_pids=frozenset(tree(table, servers)),
            when=time.perf_counter(),
        )


class _Running:
    """The commands of one run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started: list[tuple[Command, subprocess.Popen[bytes]]] = []
        self.roots: list[int] = []
        self.cpu_seconds = 0.0

    def run(self, batch: Sequence[Command]) -> None:
        """Starts all of them and waits until all have ended."""
        deadline = threading.Timer(_LONGEST_SECONDS, self._kill)
        deadline.daemon = True
        deadline.start()
        first = len(self._started)
        try:
            for command in batch:
                self._start(command)
            for _, process in self._started[first:]:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_seconds += usage.ru_utime + usage.ru_stime
        finally:
            deadline.cancel()
            for _, process in self._started[first:]:
                if process.returncode is None:
                    kill_group(process.pid)
                    process.wait()

    def _start(self, command: Command) -> None:
        number = len(self.roots)
        with (
            (self._directory / f"stdout-{number}").open("wb") as output,
            (self._directory / f"stderr-{number}").open("wb") as errors,
        ):
            process = subprocess.Popen(
                command.arguments,
                env={**os.environ, **command.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                process_group=0,
            )
        self.roots.append(process.pid)
        self._started.append((command, process))

    def _kill(self) -> None:
        for pid in self.roots:
            kill_group(pid)

    def failures(self) -> list[str]:
        """A line for each command that failed."""
        texts = []
        for number, (command, process) in enumerate(self._started):
            if process.returncode:
                errors = (self._directory / f"stderr-{number}").read_text(errors="replace")
                last = " / ".join(errors.strip().splitlines()[-_ERROR_LINES:])
                name = Path(command.arguments[0]).name
                texts.append(f"{name} ended with status {process.returncode}: {last}")
        return texts

    def outputs(self) -> tuple[str, ...]:
        return tuple(
            (self._directory / f"stdout-{number}").read_text(errors="replace")
            for number in range(len(self.roots))
        )


def kill_group(pid: int) -> None:
    """Ends a process that leads its group, and all in the group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def settle(servers: Collection[int], baseline: frozenset[int] = frozenset()) -> None:
    """Waits, not for long, until the servers have no other children than those of `baseline`."""
    _settle(servers, baseline or frozenset(servers))


def _settle(servers: Collection[int], baseline: frozenset[int]) -> None:
    # A server's process for a connection may outlive the client by some milliseconds, and its
    # processor time shows at its parent only once it has ended.
    deadline = time.monotonic() + _SETTLE_SECONDS
    while tree(processes(), servers) - baseline and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
