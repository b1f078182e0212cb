"""What a real server did to its files while clients sent some, and what it promised when."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.crashes import Disk
from tests.faults.tracing import Call, calls, strace
from tests.peer.cksum import cksum
from tests.peer.client import PeerClient
from tests.peer4.client import Peer4
from tests.peer4.serving import ServerProcess4
from tests.server.hostile_process import END_SECONDS
from tests.server.hostile_sessions import private_key

LARGE_BYTES = 2 * 2**20 + 300_000
_SMALL_BYTES = (0, 1, 700, 5_000, 60_000)
UPLOAD_ID = bytes(range(16))
"""Of the large file over protocol 4."""


@dataclass
class Promises:
    """What one client sent, and what was acknowledged to it by when."""

    name: str
    client_id: bytes = b""
    registered_at: float = 0.0
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    acknowledged: list[tuple[float, str, int]] = field(default_factory=list)
    """When, the file name, and which of `sent` it was."""

    def send(self, name: str, content: bytes) -> int:
        """Notes that a file is about to be sent; its number."""
        self.sent.append((name, content))
        return len(self.sent) - 1

    def promise(self, number: int) -> None:
        """Notes that it has been acknowledged just now."""
        self.acknowledged.append((time.time(), self.sent[number][0], number))

    def required(self, until: float) -> dict[str, list[bytes]]:
        """What must be there, by name, where what was acknowledged by then was kept: that, or
        anything sent after it."""
        last = {name: number for at, name, number in self.acknowledged if at < until}
        return {
            name: [content for one, content in self.sent[number:] if one == name]
            for name, number in last.items()
        }


@dataclass(frozen=True)
class Recording:
    """The calls of one server, from its first start on an empty directory to its end."""

    root: Path
    fingerprint: str
    promises: Promises
    calls: list[Call]

    def prefixes(self) -> Iterator[tuple[Disk, float]]:
        """The disk before each call that changed it, and when that began; and the disk at the end.

        What was acknowledged before a call began must be on the disk that it found."""
        trial, disk = Disk(self.root), Disk(self.root)
        changing = [trial.apply(call) for call in self.calls]
        for call, changes in zip(self.calls, changing, strict=True):
            if changes:
                yield disk, call.at
            disk.apply(call)
        yield disk, float("inf")


Workload = Callable[[int, Promises], None]


def small_files_4(port: int, promises: Promises) -> None:
    """Batches of small files over protocol 4, some in place of others."""
    with Peer4(port, promises.name) as peer:
        promises.client_id = peer.register()
        promises.registered_at = time.time()
        peer.connect()
        for count in (1, 3, 10, 2):
            numbers = []
            for one in range(count):
                content = random.randbytes(random.choice(_SMALL_BYTES))
                number = promises.send(f"small {one}", content)
                numbers.append((peer.send_put(f"small {one}", content), number))
            for request, number in numbers:
                peer.stored(request)
                promises.promise(number)


def large_file_4(port: int, promises: Promises) -> None:
    """One large file over protocol 4, and a second version of it."""
    with Peer4(port, promises.name) as peer:
        promises.client_id = peer.register()
        promises.registered_at = time.time()
        peer.connect()
        for upload_id in (UPLOAD_ID[::-1], UPLOAD_ID):
            number = promises.send("large", random.randbytes(LARGE_BYTES))
            peer.upload("large", promises.sent[number][1], upload_id=upload_id)
            promises.promise(number)


def small_files_3(port: int, promises: Promises) -> None:
    """Small files over protocol 3, some in place of others."""
    _files_3(port, promises, [f"small {number % 3}" for number in range(7)], _SMALL_BYTES)


def large_file_3(port: int, promises: Promises) -> None:
    """One large file over protocol 3, and a second version of it."""
    _files_3(port, promises, ["large", "large"], (LARGE_BYTES,))


def _files_3(port: int, promises: Promises, names: list[str], sizes: tuple[int, ...]) -> None:
    key = private_key()
    with PeerClient(port, "2024a", name=promises.name, private_key=key) as peer:
        promises.client_id = peer.register()
        promises.registered_at = time.time()
        peer.send_public_key()
        for name in names:
            number = promises.send(name, random.randbytes(random.choice(sizes)))
            content = promises.sent[number][1]
            assert peer.send_file(name, content).checksum == cksum(content)
            peer.crc_valid(name)
            promises.promise(number)


def recorded(directory: Path, workload: Workload) -> Recording:
    """Runs a server under strace while a client sends, and kills it."""
    record, data = directory / "calls", directory / "data"
    promises = Promises("alice")
    # -D: the server is our child and strace its grandchild, which ends when the server does.
    with traced(data, ("strace", "-D", *strace(record)[1:])) as server:
        workload(server.port, promises)
    _wait_for_end(record)
    return Recording(data, server.fingerprint, promises, list(calls(record)))


@contextmanager
def traced(data: Path, through: tuple[str, ...]) -> Iterator[ServerProcess4]:
    """A server that runs under another program."""
    with ServerProcess4(data, through=through) as server:
        yield server


def _wait_for_end(record: Path) -> None:
    deadline = time.monotonic() + END_SECONDS
    while "+++ killed by SIGKILL +++" not in record.read_text()[-200:]:
        assert time.monotonic() < deadline, "strace has not ended"
        time.sleep(0.02)
