"""Cases that move files: what is measured is from the client's start to its end."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from benchmarks.alternating import Conditions, Contender, alternate
from benchmarks.cases.names import FAILED
from benchmarks.measuring import Measurement, measure
from benchmarks.peers.tool import Service, Tool
from benchmarks.results import Group, Run
from benchmarks.sources import (
    expect_copy,
    expect_files,
    files_of,
    make_directory,
    make_file,
    make_sparse_file,
)

_NAME = "file"


class Kind(Enum):
    """What the client does."""

    PUT_FILE = "put"
    GET_FILE = "get"
    PUT_DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class Transfer:
    """One comparison: `files` files of `size` bytes each, by `clients` processes at once.

    With `times` the same is done so often, one after another, and the time of one is its part.
    A `sparse` source is only a size, and not read before the runs. The clients of the tools in
    `may_fail` may fail, and are counted.
    """

    key: str
    title: str
    kind: Kind
    size: int
    files: int = 1
    clients: int = 1
    times: int = 1
    repeat: int | None = None
    sparse: bool = False
    may_fail: frozenset[str] = field(default_factory=frozenset)


def compare(transfer: Transfer, tools: Sequence[Tool], conditions: Conditions) -> Group:
    """Runs all tools in turn."""
    source = source_of(transfer, conditions.work)
    read = None if transfer.sparse else source
    contenders = [Contender(tool.series, _Attempt(transfer, tool, source), read) for tool in tools]
    conditions.progress(transfer.title)
    runs = alternate(contenders, conditions, repeat=transfer.repeat)
    if source.is_file():
        source.unlink()
    return Group(
        key=transfer.key,
        title=transfer.title,
        series=[tool.series for tool in tools],
        amount=transfer.size * transfer.files * transfer.clients,
        files=transfer.files * transfer.clients,
        clients=transfer.clients,
        runs=runs,
    )


def source_of(transfer: Transfer, work: Path) -> Path:
    """The file or directory that is sent, made if it is not there."""
    if transfer.kind is not Kind.PUT_DIRECTORY:
        make = make_sparse_file if transfer.sparse else make_file
        return make(work / f"source-{transfer.size}", transfer.size)
    directory = work / f"source-{transfer.files}-{transfer.size}"
    if directory.exists():
        return directory
    return make_directory(directory, transfer.files, transfer.size)


class _Attempt:
    """Runs one tool once, and compares what arrived with what was sent."""

    def __init__(self, transfer: Transfer, tool: Tool, source: Path) -> None:
        self._transfer = transfer
        self._tool = tool
        self._source = source

    def __call__(self, directory: Path) -> Run:
        server = directory / "server"
        server.mkdir()
        transfer = self._transfer
        with self._tool.serving(server, self._tool.ports(), clients=transfer.clients) as service:
            match transfer.kind:
                case Kind.PUT_FILE:
                    measured = self._put(service, directory)
                case Kind.GET_FILE:
                    measured = self._get(service, directory)
                case Kind.PUT_DIRECTORY:
                    commands = [service.put_directory(self._source)]
                    measured = measure([commands], service.pids, directory)
                    expect_files(files_of(self._source), service.stored())
        extra = {FAILED: float(measured.failures)} if transfer.clients > 1 else {}
        return run_of(self._tool.name, measured, times=transfer.times, extra=extra)

    def _put(self, service: Service, directory: Path) -> Measurement:
        transfer, name = self._transfer, self._tool.name
        names = [
            [f"{_NAME}-{turn}-{client}" for client in range(transfer.clients)]
            for turn in range(transfer.times)
        ]
        batches = [
            [service.put_file(self._source, name, client=n) for n, name in enumerate(batch)]
            for batch in names
        ]
        may_fail = name in transfer.may_fail
        measured = measure(batches, service.pids, directory, may_fail=may_fail)
        if not may_fail:
            sources = {name: self._source for batch in names for name in batch}
            expect_files(sources, service.stored())
        return measured

    def _get(self, service: Service, directory: Path) -> Measurement:
        service.place(self._source, _NAME)
        os.sync()  # a server that has not synced is not to do so while it sends
        copy = directory / "copy"
        measured = measure([[service.get_file(_NAME, copy)]], service.pids, directory)
        expect_copy(self._source, copy)
        return measured


def run_of(
    series: str,
    measured: Measurement,
    *,
    times: int = 1,
    x: float | None = None,
    extra: dict[str, float] | None = None,
) -> Run:
    """The run that a measurement gives, of one of `times` equal parts."""
    return Run(
        series=series,
        seconds=measured.seconds / times,
        client_cpu=measured.client_cpu / times,
        server_cpu=measured.server_cpu / times,
        client_peak=measured.client_peak,
        server_peak=measured.server_peak,
        others=measured.others,
        watched=measured.seconds,
        x=x,
        extra=extra or {},
    )
