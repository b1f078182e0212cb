"""A client that is killed at half of a file, and goes on: bytes that are sent again."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.alternating import Conditions, Contender, alternate, fresh_directory
from benchmarks.cases.names import AGAIN
from benchmarks.cases.transfers import run_of
from benchmarks.errors import RunFailed
from benchmarks.measuring import Command, kill_group, measure, settle
from benchmarks.peers.tool import Ports, Service, Tool
from benchmarks.relay import Relay, relaying
from benchmarks.results import Group, Run
from benchmarks.sizes import MIB, size_text
from benchmarks.sources import expect_files, make_file

_NAME = "file"
_WAIT_SECONDS = 600.0


def resume(size: int, tools: Sequence[Tool], conditions: Conditions) -> Group:
    """All tools in turn, each killed when half of `size` bytes has been sent."""
    title = f"one file of {size_text(size)}, the client killed at half"
    conditions.progress(title)
    source = make_file(conditions.work / f"source-{size}", size)
    contenders = [
        Contender(tool.series, _Attempt(tool, source, conditions.work), source) for tool in tools
    ]
    runs = alternate(contenders, conditions)
    source.unlink()
    series = [tool.series for tool in tools]
    return Group("resume", title, series, amount=size // 2, files=1, runs=runs)


class _Attempt:
    """Kills one tool's client once, lets it go on, and compares what arrived."""

    def __init__(self, tool: Tool, source: Path, work: Path) -> None:
        self._tool = tool
        self._source = source
        self._work = work
        self._uninterrupted: int | None = None

    def __call__(self, directory: Path) -> Run:
        if self._uninterrupted is None:
            self._uninterrupted = self._count_uninterrupted()
        ports = self._tool.ports(relayed=True)
        with _served(self._tool, directory, ports) as service, relaying(ports) as relay:
            self._interrupt(service, relay, directory)
            resumed = service.resume_file(self._source, _NAME)
            measured = measure([[resumed]], service.pids, directory)
            expect_files({_NAME: self._source}, service.stored())
            again = max(0, relay.to_server - self._uninterrupted)
        return run_of(self._tool.name, measured, extra={AGAIN: again / MIB})

    def _count_uninterrupted(self) -> int:
        """Bytes that one transfer takes on the wire, with all that goes with it."""
        directory, ports = fresh_directory(self._work), self._tool.ports(relayed=True)
        with _served(self._tool, directory, ports) as service, relaying(ports) as relay:
            measure([[service.put_file(self._source, _NAME)]], service.pids, directory)
            return relay.to_server

    def _interrupt(self, service: Service, relay: Relay, directory: Path) -> None:
        half = self._source.stat().st_size // 2
        # A quick client would have sent much more by the time that it is killed.
        relay.hold_at(half)
        process = _start(service.put_file(self._source, _NAME), directory)
        try:
            reached = relay.wait_for(half, _WAIT_SECONDS)
        finally:
            kill_group(process.pid)
            process.wait()
            relay.release()
        if not reached:
            raise RunFailed("half of the file was not sent in time")
        # The server has to have noticed before the client comes back, as in real life.
        if not relay.wait_until_idle(_WAIT_SECONDS):
            raise RunFailed("the server keeps a dead client's connection")
        settle(service.pids)
        if process.returncode == 0:
            raise RunFailed("the file was sent before the client could be killed")


@contextmanager
def _served(tool: Tool, directory: Path, ports: Ports) -> Iterator[Service]:
    server = directory / "server"
    server.mkdir()
    with tool.serving(server, ports) as service:
        yield service


def _start(command: Command, directory: Path) -> subprocess.Popen[bytes]:
    with (directory / "killed").open("wb") as output:
        return subprocess.Popen(
            command.arguments,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )
