"""Thousands of connections of clients that have proved themselves, and one too many:
`python -m tests.load.connections`."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.load import identities, results
from tests.load.crowd import Crowd
from tests.load.honest import Delays, Honest
from tests.load.watching import Sample, look
from tests.peer4.serving import ServerProcess4

_BEYOND = 50
_SPARE = 10  # for the honest client and for who is leaving


@dataclass(frozen=True, slots=True)
class Scale:
    """How many connections, and seconds of activity."""

    idle: int
    active: int
    seconds: float


SHORT = Scale(idle=80, active=20, seconds=2.0)
LONG = Scale(idle=2000, active=200, seconds=30.0)


@dataclass(frozen=True, slots=True)
class Crowded:
    """What came of it. `told` is what the crowd says of itself (`tests.load.crowd`)."""

    told: dict[str, float]
    empty: Sample
    idle: Sample
    active: Sample
    before: Delays
    during: Delays
    beyond_refused: int
    beyond_seconds: float
    lowered_to: int


def run(directory: Path, scale: Scale) -> Crowded:
    """Opens all of them, lets some transfer, and tries more than the server admits."""
    limit = scale.idle + scale.active + _SPARE
    arguments = ("--max-connections", str(limit), "--idle-seconds", "3600")
    with ServerProcess4(directory / "data", *arguments) as server:
        pid = server.process.pid
        honest = Honest(directory, server.port, server.fingerprint)
        client_id = identities.registered(server.port, "crowd")
        before = honest.transfers(seconds=scale.seconds / 2, at_least=3)
        empty = look(pid)
        with _crowd(server.port, client_id, scale) as crowd:
            assert crowd.stdout is not None
            assert crowd.stdin is not None
            assert crowd.stdout.readline() == "ready\n"
            idle = look(pid)
            during = honest.transfers(seconds=scale.seconds / 2, at_least=3)
            refused, seconds = _beyond(server.port, client_id)
            crowd.stdin.write("\n")
            crowd.stdin.flush()
            time.sleep(scale.seconds / 2)
            active = look(pid)
            told = json.loads(crowd.stdout.readline())
            crowd.stdin.write("\n")
            crowd.stdin.flush()
            assert crowd.wait(120) == 0
    lowered = _lowered(directory)
    return Crowded(told, empty, idle, active, before, during, refused, seconds, lowered)


@contextmanager
def _crowd(port: int, client_id: bytes, scale: Scale) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.load.crowd", "--port", str(port), "--client-id",
         client_id.hex(), "--idle", str(scale.idle), "--active", str(scale.active), "--seconds",
         str(scale.seconds)],
        cwd=results.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def _beyond(port: int, client_id: bytes) -> tuple[int, float]:
    """How many of some more the server refuses, and how long it took to refuse them all."""
    began = time.monotonic()
    crowd = Crowd(port, client_id, _BEYOND)
    crowd.close()
    return crowd.refused, time.monotonic() - began


def _lowered(directory: Path) -> int:
    """To how many connections a server keeps that was asked for a million."""
    with ServerProcess4(directory / "lowered", "--max-connections", "1000000") as server:
        found = re.search(r"only (\d+) connections at once", server.log)
    return int(found[1]) if found else 1_000_000


def rows(crowded: Crowded, scale: Scale) -> list[results.Row]:
    """The rows of the table."""
    told, count = crowded.told, scale.idle + scale.active
    each = (crowded.idle.mib - crowded.empty.mib) * 1024 / told["opened"]
    command = "make connections"
    held = {
        "connections": f"{told['opened']:.0f}",
        "what": f"opened in {told['opening_seconds']:.0f} s, {each:.0f} KiB each",
        "memory": f"{crowded.empty.mib:.0f}, then {crowded.idle.mib:.0f} MiB",
        "threads": str(crowded.idle.threads),
        "descriptors": str(crowded.idle.descriptors),
        "honest delay": f"{crowded.before} alone, {crowded.during} then",
    }
    active = {
        "connections": f"{scale.active} of them",
        "what": f"{told['transfers'] / scale.seconds:.0f} files of 4 KiB a second,"
        f" {told['failures']:.0f} failed; {told['alive']:.0f} connections answer afterwards",
        "memory": f"{crowded.active.mib:.0f} MiB",
        "threads": str(crowded.active.threads),
        "descriptors": str(crowded.active.descriptors),
        "honest delay": "-",
    }
    beyond = {
        "connections": f"{_BEYOND} more",
        "what": f"{crowded.beyond_refused} refused in {crowded.beyond_seconds:.1f} s by"
        f" `max_connections` {count + _SPARE}; asked for a million under `ulimit -n` 20000, a"
        f" server admits {crowded.lowered_to:,}",
        "memory": "-",
        "threads": "-",
        "descriptors": "-",
        "honest delay": "-",
    }
    return [
        results.Row("connections", f"1. {count:,} proven, idle", held, command),
        results.Row("connections", "2. active", active, command),
        results.Row("connections", "3. beyond the limit", beyond, command),
    ]


def main() -> None:
    """Runs all of it and stores the rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.connections", description=__doc__)
    parser.add_argument("--idle", type=int, default=LONG.idle)
    parser.add_argument("--active", type=int, default=LONG.active)
    parser.add_argument("--seconds", type=float, default=LONG.seconds)
    given = parser.parse_args()
    scale = Scale(given.idle, given.active, given.seconds)
    with tempfile.TemporaryDirectory() as directory:
        for row in rows(run(Path(directory), scale), scale):
            results.record(row)
            sys.stdout.write(f"{row.name}: {row.cells}\n")


if __name__ == "__main__":
    main()
