"""Runs of the client against servers, without waiting between tries."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from client.batch import Batch, Options
from client.errors import ExitStatus
from client.progress import Progress, progress_on
from client.report import FileResult, Report
from protocol.generations import GENERATIONS
from tests.peer.server import PeerServer


@dataclass
class Run:
    """What a run ended with; `waits` are the seconds it would have waited between tries."""

    status: ExitStatus
    results: tuple[FileResult, ...]
    waits: list[float] = field(default_factory=list)

    @property
    def outcomes(self) -> list[str]:
        return [str(result.outcome) for result in self.results]


def run(directory: Path, options: Options | None = None, progress: Progress | None = None) -> Run:
    """One run in this directory."""
    waits: list[float] = []
    report = Report()
    batch = Batch(
        options or Options(directory, GENERATIONS["2023a"]),
        report,
        progress or progress_on(sys.stderr, quiet=True),
        sleep=waits.append,
    )
    status = batch.run()
    return Run(status, report.results, waits)


def run_against(
    server: PeerServer, directory: Path, *files: str, timeout: float = 10.0, retries: int = 4
) -> Run:
    """One run that sends `files` of this directory as alice."""
    options = Options(
        directory,
        GENERATIONS[server.generation.name],
        server=f"{server.host}:{server.port}",
        name="alice",
        files=tuple(str(directory / file) for file in files),
        timeout=timeout,
        retries=retries,
    )
    return run(directory, options)
