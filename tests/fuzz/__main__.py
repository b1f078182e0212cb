"""Fuzzes all targets, or those named, and adds what they executed to docs/reliability/fuzzing.json.

Ends with status 1 when an input broke a promise: it lies in .fuzz/TARGET/, beside the log.
"""

import argparse
import queue
import sys
import threading

from tests.fuzz import campaign, corpus, results, target

_MOST_KEPT_BYTES = 8 * 1024


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="(default: all)")
    parser.add_argument("--seconds", type=int, default=600, help="for each target (default: 600)")
    parser.add_argument("--executions", type=int, help="at most so many for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at once (default: 2)")
    parser.add_argument(
        "--keep", action="store_true", help="keep new inputs in tests/fuzz/corpus, minimised"
    )
    parser.add_argument("--no-results", action="store_true", help="leave the counts as they are")
    given = parser.parse_args()
    known = target.names()
    unknown = sorted(set(given.targets) - set(known))
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(known)}")
    failures = _run_all(given.targets or known, given)
    return 1 if failures else 0


def _run_all(names: list[str], given: argparse.Namespace) -> list[str]:
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in names:
        waiting.put(name)
    lock = threading.Lock()
    failures: list[str] = []

    def work() -> None:
        while True:
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            outcome = campaign.run(name, seconds=given.seconds, executions=given.executions)
            seeds = set(target.load(name).seeds())
            inputs = set(campaign.minimised(name)) - seeds if given.keep else set()
            with lock:
                if given.keep:
                    corpus.keep(name, inputs, _MOST_KEPT_BYTES)
                if not given.no_results:
                    results.add(outcome)
                if outcome.failure:
                    failures.append(name)
                _tell(outcome)

    threads = [threading.Thread(target=work) for _ in range(given.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def _tell(outcome: campaign.Outcome) -> None:
    rate = outcome.executions / max(outcome.seconds, 0.001)
    sys.stdout.write(
        f"{outcome.name}: {outcome.executions:,} executions in {outcome.seconds:.0f} s"
        f" ({rate:,.0f}/s), {outcome.edges:,} edges"
        f"{', BROKEN' if outcome.failure else ''}\n"
    )
    if outcome.failure:
        sys.stdout.write(outcome.failure + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
