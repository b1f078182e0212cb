"""Protocol 3 beside the one thing in it that cannot be had quicker: AES-CBC by pycryptodome."""

import json
from dataclasses import replace
from pathlib import Path

from benchmarks.alternating import Conditions, Contender, alternate
from benchmarks.cases.machine_limits import LimitAttempt
from benchmarks.cases.names import WHOLE
from benchmarks.cases.transfers import run_of
from benchmarks.errors import RunFailed
from benchmarks.measuring import measure
from benchmarks.peers.ours import Ours3
from benchmarks.results import Group, Run, Series
from benchmarks.sizes import size_text
from benchmarks.sources import expect_files, make_file
from protocol.generations import GENERATIONS


def protocol3(key: str, generation: str, size: int, conditions: Conditions) -> Group:
    """One generation and AES-CBC alone in turn, with a file of `size` bytes."""
    title = f"generation {generation}, one file of {size_text(size)}"
    conditions.progress(title)
    source = make_file(conditions.work / f"source-{size}", size)
    bits = GENERATIONS[generation].aes_key_bytes * 8
    tool = Ours3(generation)
    alone = f"AES-{bits}-CBC alone"
    contenders = [
        Contender(tool.series, _Attempt(tool, source), source),
        Contender(Series(alone), LimitAttempt(f"cbc-{bits}", alone, size)),
    ]
    runs = alternate(contenders, conditions)
    source.unlink()
    series = [contender.series for contender in contenders]
    return Group(key, title, series, amount=size, files=1, runs=runs)


class _Attempt:
    """Sends the file once; the time is from the first byte sent to the acknowledgement."""

    def __init__(self, tool: Ours3, source: Path) -> None:
        self._tool = tool
        self._source = source

    def __call__(self, directory: Path) -> Run:
        server = directory / "server"
        server.mkdir()
        with self._tool.serving(server, self._tool.ports()) as service:
            command = service.put_file(self._source, self._source.name)
            measured = measure([[command]], service.pids, directory)
            expect_files({self._source.name: self._source}, service.stored())
        try:
            seconds = float(json.loads(measured.outputs[0].splitlines()[0])["seconds"])
        except (ValueError, KeyError, IndexError) as error:
            raise RunFailed("the client reported no time") from error
        run = run_of(self._tool.name, measured, extra={WHOLE: measured.seconds})
        return replace(run, seconds=seconds)
