"""An honest client that goes on whatever happens around it, and how long it is kept waiting."""

import itertools
import os
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from client import Client
from tests.load import identities

FILE_BYTES = 4096
_RETRIES = 12


@dataclass
class Delays:
    """Seconds that connecting and storing took, transfer by transfer."""

    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.seconds:
            return "-"
        return f"{statistics.median(self.seconds) * 1000:.0f} / {max(self.seconds) * 1000:.0f} ms"


class Honest:
    """The product's client, connecting anew for each transfer, as a command would."""

    def __init__(self, directory: Path, port: int, fingerprint: str, name: str = "honest") -> None:
        self._state = identities.state(directory / f"state-{name}", port, name)
        self._directory = directory
        self._port = port
        self._fingerprint = fingerprint
        self._numbers = itertools.count()

    def transfer(self) -> float:
        """Stores a file and fetches it back; seconds until it was stored.

        Raises `ClientError` when the server does not take it in all tries, and `AssertionError`
        when other bytes come back.
        """
        content = os.urandom(FILE_BYTES)
        source = self._directory / "source"
        source.write_bytes(content)
        name = f"file-{next(self._numbers) % 20}"
        began = time.monotonic()
        with Client(
            f"127.0.0.1:{self._port}", directory=self._state, fingerprint=self._fingerprint,
            retries=_RETRIES, timeout=60.0,
        ) as client:  # fmt: skip
            receipt = client.put(source, name)
            seconds = time.monotonic() - began
            assert receipt.body.size == FILE_BYTES
            assert b"".join(client.read(name)) == content
        return seconds

    def transfers(self, *, seconds: float, at_least: int = 1) -> Delays:
        """One after the other for so long."""
        delays = Delays()
        until = time.monotonic() + seconds
        while time.monotonic() < until or len(delays.seconds) < at_least:
            delays.seconds.append(self.transfer())
        return delays
