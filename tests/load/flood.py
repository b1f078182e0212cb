"""Attacks a server while an honest client goes on: `python -m tests.load.flood [KIND ...]`."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.load import identities, results
from tests.load.attacks import KINDS
from tests.load.honest import Delays, Honest
from tests.load.watching import Sample, Watch, back_to, look
from tests.peer4.serving import ServerProcess4

_ENDS_WITHIN_SECONDS = 180.0  # a peer that vanished unheard is waited for idle_seconds


@dataclass(frozen=True, slots=True)
class Scale:
    """How hard: seconds of each attack, its connections, and what the attacker has stored."""

    seconds: float
    connections: int
    files: int
    large_bytes: int


SHORT = Scale(seconds=1.0, connections=100, files=50, large_bytes=2 << 20)
LONG = Scale(seconds=30.0, connections=1500, files=1000, large_bytes=32 << 20)


@dataclass(frozen=True, slots=True)
class Flood:
    """What came of one attack."""

    kind: str
    counts: dict[str, int]
    before: Delays
    during: Delays
    idle: Sample
    peak: Sample


class Battlefield:
    """A server process, an honest client, and an attacker's identity with files of its own."""

    def __init__(self, directory: Path, server: ServerProcess4, scale: Scale) -> None:
        self.server = server
        self._scale = scale
        self._honest = Honest(directory, server.port, server.fingerprint)
        self._attacker = identities.registered(server.port, "attacker")
        with identities.peer(server.port, "attacker", client_id=self._attacker) as peer:
            peer.connect()
            for number in range(scale.files):
                peer.send_put(f"file-{number:04}", b"x")
            for _ in range(scale.files):
                peer.stored()
            peer.upload("large", bytes(scale.large_bytes))
        self._honest.transfer()

    def flood(self, kind: str) -> Flood:
        """One attack. Raises when an honest transfer fails, or when something is left behind."""
        scale, pid = self._scale, self.server.process.pid
        before = self._honest.transfers(seconds=scale.seconds / 3, at_least=2)
        idle = look(pid)
        attack = subprocess.Popen(
            [sys.executable, "-m", "tests.load.attacks", kind, "--port", str(self.server.port),
             "--client-id", self._attacker.hex(), "--seconds", str(scale.seconds),
             "--connections", str(scale.connections)],
            cwd=results.ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            with Watch(pid, 0.1) as watch:
                during = Delays()
                while attack.poll() is None:
                    during.seconds.append(self._honest.transfer())
            output, _ = attack.communicate()
        finally:
            attack.kill()
            attack.wait()
        assert attack.returncode == 0, f"the attack {kind} ended with {attack.returncode}"
        back_to(pid, idle, _ENDS_WITHIN_SECONDS)
        return Flood(kind, json.loads(output), before, during, idle, watch.peak)


@contextmanager
def battlefield(directory: Path, scale: Scale) -> Iterator[Battlefield]:
    """A server to be attacked, with its default limits."""
    with ServerProcess4(directory / "data") as server:
        yield Battlefield(directory, server, scale)


def _row(flood: Flood, seconds: float) -> results.Row:
    asked = flood.counts.get("asked")
    return results.Row(
        "floods",
        KINDS[flood.kind][0],
        {
            "connections": f"{flood.counts['opened']:,}",
            "requests": "-" if asked is None else f"{asked:,}",
            "delay before": str(flood.before),
            "delay during": str(flood.during),
            "honest transfers": f"{len(flood.during.seconds):,}",
            "failed": "0",  # one that fails ends the run
            "memory": f"{flood.idle.mib:.0f}, at most {flood.peak.mib:.0f} MiB",
            "threads": str(flood.peak.threads),
        },
        f"make flood KINDS={flood.kind} SECONDS={seconds:.0f}",
    )


def main() -> None:
    """Runs the attacks and stores their rows."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.flood", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--seconds", type=float, default=LONG.seconds, help="for each attack")
    given = parser.parse_args()
    scale = Scale(given.seconds, LONG.connections, LONG.files, LONG.large_bytes)
    for kind in given.kinds or KINDS:
        with (
            tempfile.TemporaryDirectory() as directory,
            battlefield(Path(directory), scale) as field,
        ):
            row = _row(field.flood(kind), scale.seconds)
            results.record(row)
            sys.stdout.write(f"{kind}: {row.cells}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
