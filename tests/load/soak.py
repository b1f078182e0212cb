"""Mixed clients against one server for a long time: `python -m tests.load.soak --seconds 1800`."""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.load import results
from tests.load.mixture import MEMBERS, Surroundings, Tally
from tests.load.watching import Sample, Watch, back_to, look
from tests.peer4.serving import ServerProcess4

_ENDS_WITHIN_SECONDS = 180.0
_WARM_UP = 5  # the first fifth is not held against the last


@dataclass(frozen=True, slots=True)
class Scale:
    """Seconds of the whole and of each attack in it, and the size of large files."""

    seconds: float
    attack_seconds: float
    large_bytes: int


SHORT = Scale(seconds=6.0, attack_seconds=1.0, large_bytes=2 << 20)
LONG = Scale(seconds=1800.0, attack_seconds=10.0, large_bytes=64 << 20)


@dataclass(frozen=True, slots=True)
class Soaked:
    """What came of it; `after` is what the server takes up when all clients have gone."""

    tally: Tally
    samples: list[Sample]
    idle: Sample
    after: Sample

    def memory(self) -> tuple[float, float]:
        """Median MiB of the second fifth, and of the last."""
        fifth = max(1, len(self.samples) // _WARM_UP)
        early, late = self.samples[fifth : 2 * fifth] or self.samples, self.samples[-fifth:]
        return (
            statistics.median(sample.mib for sample in early),
            statistics.median(sample.mib for sample in late),
        )


def run(directory: Path, scale: Scale) -> Soaked:
    """Lets everybody go on for so long, then waits until they are gone."""
    tally, stop = Tally(), threading.Event()
    with ServerProcess4(directory / "data") as server:
        pid = server.process.pid
        around = Surroundings(
            directory, server.port, server.fingerprint, scale.large_bytes, scale.attack_seconds,
            tally, stop,
        )  # fmt: skip
        members = [member(around, name) for name, member in MEMBERS]
        idle = look(pid)
        with Watch(pid, min(1.0, scale.seconds / 50)) as watch:
            for member in members:
                member.start()
            time.sleep(scale.seconds)
            stop.set()
            for member in members:
                member.join()
        after = back_to(pid, idle, _ENDS_WITHIN_SECONDS)
    return Soaked(tally, watch.samples, idle, after)


def row(soaked: Soaked, scale: Scale) -> results.Row:
    """The row of the table."""
    early, late = soaked.memory()
    peak = max(soaked.samples, key=lambda sample: sample.mib).mib
    threads = max(sample.threads for sample in soaked.samples)
    descriptors = max(sample.descriptors for sample in soaked.samples)
    return results.Row(
        "soak",
        f"{scale.seconds / 60:.0f} minutes",
        {
            "transfers": f"{soaked.tally.transfers:,}",
            "bytes": f"{soaked.tally.bytes / 2**30:.1f} GiB",
            "failures": str(len(soaked.tally.failures)),
            "memory": f"{soaked.idle.mib:.0f} MiB before; median {early:.0f} in the second fifth,"
            f" {late:.0f} in the last; at most {peak:.0f}; {soaked.after.mib:.0f} afterwards",
            "threads": f"{soaked.idle.threads}, at most {threads}, {soaked.after.threads}",
            "descriptors": f"{soaked.idle.descriptors}, at most {descriptors},"
            f" {soaked.after.descriptors}",
        },
        f"make soak SECONDS={scale.seconds:.0f}",
    )


def main() -> int:
    """Runs it, stores the row, and ends with status 1 when an honest client failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=LONG.seconds)
    given = parser.parse_args()
    scale = Scale(given.seconds, LONG.attack_seconds, LONG.large_bytes)
    with tempfile.TemporaryDirectory() as directory:
        soaked = run(Path(directory), scale)
    results.record(row(soaked, scale))
    sys.stdout.write(f"{row(soaked, scale).cells}\n")
    for failure in soaked.tally.failures:
        sys.stdout.write(f"{failure}\n")
    return 1 if soaked.tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
