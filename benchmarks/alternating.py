"""Runs of several series in turn (A B A B), each under the same conditions."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.errors import RunFailed
from benchmarks.machine import touch_memory
from benchmarks.results import Run, Series
from benchmarks.sources import read_again

# Less than this, for each processor, is within what /proc/stat errs by: it counts ticks of 10 ms.
_LEAST_OTHERS_SECONDS = 0.05
_MOST_FAILURES = 2
# Removing more files than this makes the creation of files slow afterwards (ext4).
_FILES_TO_REMOVE = 200


@dataclass(frozen=True, slots=True)
class Conditions:
    """How runs are made; sizes in bytes.

    `others` is the largest share of the machine that other processes may take in a run that counts.
    `work` is a directory on the disk that is measured.
    """

    work: Path
    repeat: int
    quick: bool
    others: float
    touched: int
    progress: Callable[[str], None]


Attempt = Callable[[Path], Run]
"""Makes one run in a fresh directory; raises `RunFailed`."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A series, and how to make one run of it; `source` is what is read before each run."""

    series: Series
    attempt: Attempt
    source: Path | None = None


def alternate(
    contenders: Sequence[Contender], conditions: Conditions, *, repeat: int | None = None
) -> list[Run]:
    """Every contender in turn, until each has `repeat` runs that count or has tried twice as often.

    All runs are returned, those that do not count too.
    """
    wanted = repeat or conditions.repeat
    runs: list[Run] = []
    for turn in range(2 * wanted):
        for contender in contenders:
            own = [run for run in runs if run.series == contender.series.name]
            enough = sum(run.rejected is None for run in own) >= wanted
            if enough or sum(run.failed for run in own) >= _MOST_FAILURES:
                continue
            run = _attempt(contender, conditions)
            runs.append(run)
            conditions.progress(_line(turn, run))
    return runs


def _attempt(contender: Contender, conditions: Conditions) -> Run:
    directory = fresh_directory(conditions.work)
    # What earlier runs left to be written is not to be waited for in this one.
    os.sync()
    touch_memory(conditions.touched)
    if contender.source is not None:
        read_again(contender.source)
    try:
        run = contender.attempt(directory)
    except RunFailed as error:
        run = Run(contender.series.name, None, rejected=str(error), failed=True)
    _remove_if_small(directory)
    return judged(run, conditions.others)


def judged(run: Run, most: float) -> Run:
    """The run, rejected if other processes took more than the share `most` of the machine."""
    if run.rejected is not None or run.others is None or run.others <= most:
        return run
    if run.watched is not None and run.others * run.watched <= _LEAST_OTHERS_SECONDS:
        return run
    return replace(run, rejected=f"other processes took {run.others:.0%} of the processors")


def fresh_directory(work: Path) -> Path:
    """A new directory for a run."""
    directory = work / f"run-{time.monotonic_ns()}"
    directory.mkdir()
    return directory


def _remove_if_small(directory: Path) -> None:
    """Large files are removed, for the disk's and the page cache's sake; many files stay."""
    count = 0
    for _, _, files in os.walk(directory):
        count += len(files)
        if count > _FILES_TO_REMOVE:
            return
    shutil.rmtree(directory)


def _line(turn: int, run: Run) -> str:
    if run.rejected is not None:
        return f"  {turn + 1}  {run.series}: does not count: {run.rejected}"
    return f"  {turn + 1}  {run.series}: {run.seconds:.3f} s"
