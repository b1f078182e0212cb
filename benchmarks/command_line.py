"""`python -m benchmarks`: measures the cases that were asked for, and writes the document."""

import argparse
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import programs, results
from benchmarks.alternating import Conditions
from benchmarks.catalogue import CASES, Case, Plan, chosen, ours
from benchmarks.document import results_directory, write_document
from benchmarks.errors import BenchmarkError
from benchmarks.machine import environment, file_system, memory_bytes
from benchmarks.results import CaseResult
from benchmarks.sizes import GIB, MIB, size_text

_DOCUMENT = Path("docs/benchmarks.md")
_QUICK_DOCUMENT = Path("build/benchmarks.md")
_TOUCHED_BYTES = 3 * GIB
_QUICK_TOUCHED_BYTES = 64 * MIB
_IN_MEMORY = {"tmpfs", "ramfs"}

_DESCRIPTION = """\
Measures this project and what people use instead, on this machine over loopback, in turn. Each
case's runs go to a file in DOCUMENT's directory (benchmarks/results/CASE.json), and the document is
written anew from all of them, so that cases may be measured separately. Nothing else should run on
the machine."""


def main() -> None:
    """Measures, and exits with 1 and one line when it cannot."""
    # As an interruption from the keyboard does, this ends the servers and removes the files.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    options = _parser().parse_args()
    if options.document is None:
        options.document = _QUICK_DOCUMENT if options.quick else _DOCUMENT
    try:
        options.cases = chosen(options.cases)
        failed = [] if options.report_only else _measure(options)
        write_document(options.document)
    except BenchmarkError as error:
        sys.exit(f"benchmarks: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    if failed:
        sys.exit(f"benchmarks: {len(failed)} runs failed: {'; '.join(failed)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=_DESCRIPTION)
    more = parser.add_argument
    names = ", ".join(f"{case.name} ({case.title})" for case in CASES.values())
    more("cases", nargs="*", metavar="CASE", help=f"default: the usual ones; {names}")
    more("--repeat", type=int, default=0, help="runs of each that count (default: 5; quick: 1)")
    more("--quick", action="store_true", help="small sizes, to see whether everything works")
    more(
        "--others",
        type=float,
        metavar="SHARE",
        help="discard runs in which other processes took more of the machine (default: 0.1;"
        " quick: none)",
    )
    more(
        "--work",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108 - a fresh directory is made in it
        metavar="DIR",
        help="on the disk that is measured (default: /var/tmp)",
    )
    more(
        "--bare-flags",
        default="",
        metavar="FLAGS",
        help="flags of our server for a second series without sync, digest or receipt (the product"
        " has no such mode today)",
    )
    more("--document", type=Path, help=f"default: {_DOCUMENT}, or {_QUICK_DOCUMENT} with --quick")
    more("--report-only", action="store_true", help="write the document from what was measured")
    return parser


def _measure(options: argparse.Namespace) -> list[str]:
    """Writes the result files; returns a line for each run that failed."""
    programs.install()
    if file_system(options.work) in _IN_MEMORY:
        raise BenchmarkError(f"{options.work} is in memory: name a directory on a disk with --work")
    work = Path(tempfile.mkdtemp(prefix="eft-bench-", dir=options.work))
    quick = options.quick
    conditions = Conditions(
        work=work,
        repeat=options.repeat or (1 if quick else 5),
        quick=quick,
        others=(1.0 if quick else 0.1) if options.others is None else options.others,
        touched=_QUICK_TOUCHED_BYTES if quick else min(_TOUCHED_BYTES, memory_bytes() // 2),
        progress=_tell,
    )
    plan = Plan(conditions, ours(work / "ours", options.bare_flags))
    failed: list[str] = []
    try:
        for case in options.cases:
            result = _measured(case, plan)
            results.write(result, results_directory(options.document) / f"{case.name}.json")
            failed += [
                f"case {case.name}, {run.series}: {run.rejected}"
                for group in result.groups
                for run in group.runs
                if run.failed
            ]
    finally:
        # Only now: creating files soon after thousands were removed is slow.
        shutil.rmtree(work)
    return failed


def _measured(case: Case, plan: Plan) -> CaseResult:
    conditions = plan.conditions
    free = shutil.disk_usage(conditions.work).free
    if free < case.space and not conditions.quick:
        raise BenchmarkError(
            f"case {case.name} needs {size_text(case.space)} on the disk of"
            f" {conditions.work.parent}, and {free // MIB:,} MiB are free: name another directory"
            " with --work"
        )
    _tell(f"case {case.name}: {case.title}")
    return CaseResult(
        case=case.name,
        title=case.title,
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        repeat=conditions.repeat,
        quick=conditions.quick,
        environment=environment(conditions.work),
        groups=case.measure(plan),
    )


def _tell(line: str) -> None:
    print(line, flush=True)
