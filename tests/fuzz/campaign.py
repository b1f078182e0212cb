"""Runs targets one after the other, each in a process of its own, and counts what they executed."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import corpus, target

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".fuzz"
"""Where runs keep what they found between them; not part of the repository."""

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_DONE = re.compile(r"Done (\d+) runs")
_PROGRESS = re.compile(r"^#(\d+)\t.* cov: (\d+) ft: (\d+)", re.MULTILINE)
_PROGRAM = "EFT_FUZZ_PROGRAM"  # as tests.fuzz.worker, which only a fuzzing process can import
_TIMEOUT_SECONDS = 60
_MOST_MIB = 2048


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of one target; `edges` is the coverage reached, `failure` a promise broken."""

    name: str
    executions: int
    seconds: float
    edges: int
    failure: str | None


def run(name: str, *, seconds: int, executions: int | None) -> Outcome:
    """Fuzzes one target for so long, or so often, whichever is over first; goes on from what
    earlier runs have found."""
    found = target.load(name)
    inputs = WORK / name / "corpus"
    corpus.spread(inputs, [*found.seeds(), *corpus.kept(name)])
    limits = [f"-max_total_time={seconds}", f"-runs={executions or -1}"]
    began = time.monotonic()
    result = _worker(
        name, str(inputs), *limits, "-print_final_stats=1", "-reload=0",
        f"-artifact_prefix={WORK / name}/", f"-timeout={_TIMEOUT_SECONDS}",
        f"-rss_limit_mb={_MOST_MIB}",
    )  # fmt: skip
    took = time.monotonic() - began
    (WORK / name / "log").write_text(result.stdout)
    progress = _PROGRESS.findall(result.stdout)
    counts = [int(count) for count in _EXECUTED.findall(result.stdout)]
    counts += [int(count) for count in _DONE.findall(result.stdout)]
    counts += [int(count) for count, *_ in progress]
    return Outcome(
        name,
        max(counts, default=0),
        took,
        max((int(edges) for _, edges, _ in progress), default=0),
        None if result.returncode == 0 else result.stdout[-3000:],
    )


def minimised(name: str) -> list[bytes]:
    """The fewest inputs, of all that runs have found, that reach all that they reach."""
    with tempfile.TemporaryDirectory() as directory:
        fewest, program = Path(directory) / "fewest", Path(directory) / "program"
        fewest.mkdir()
        command = f"{shlex.quote(sys.executable)} -m tests.fuzz.worker {name}"
        program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        program.chmod(0o700)
        found = str(WORK / name / "corpus")
        _worker(name, "-merge=1", str(fewest), found, **{_PROGRAM: str(program)})
        return corpus.gathered(fewest)


def _worker(name: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["nice", "-n", "15", sys.executable, "-m", "tests.fuzz.worker", name, *arguments],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)} | variables, check=False,
        text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
