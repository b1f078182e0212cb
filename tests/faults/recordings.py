"""What a real server did to its files while clients sent some, and what it promised when."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from server.repository import open_repository
from tests.faults.commits import NEVER, Commit, Rows, commits, contents
from tests.faults.crashes import Disk
from tests.faults.tracing import SOCKETS, Call, calls, strace
from tests.mariadb import MariaDB
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
class Moment:
    """When the power may go: what was acknowledged `until` then must be kept. `commits` are the
    numbers of commits that a database beside the disk may have kept."""

    disk: Disk
    until: float
    commits: range


@dataclass(frozen=True)
class Recording:
    """The calls of one server, from its first start on an empty directory to its end, and its
    commits where it has a database server."""

    root: Path
    fingerprint: str
    promises: Promises
    calls: list[Call]
    commits: list[Commit] = field(default_factory=list)

    def moments(self) -> Iterator[Moment]:
        """Before each call that changed the disk, while each commit is under way, and the end; the
        disk is valid until the next one."""
        trial, disk = Disk(self.root), Disk(self.root)
        changing = {id(call) for call in self.calls if trial.apply(call)}
        steps: list[tuple[int, Call | Commit]] = [(call.ended, call) for call in self.calls]
        steps += [(commit.begun, commit) for commit in self.commits]
        for line, step in sorted(steps, key=lambda one: one[0]):
            if isinstance(step, Commit) or id(step) in changing:
                yield Moment(disk, step.at, self._kept(step.begun, line))
            if isinstance(step, Call):
                disk.apply(step)
        yield Moment(disk, float("inf"), self._kept(NEVER, NEVER))

    def _kept(self, begun: int, ended: int) -> range:
        """How many commits may be there: those that were answered before, and such as were asked
        for by then, in the order of the answers."""
        answered = sum(commit.answered < begun for commit in self.commits)
        under_way = takewhile(lambda commit: commit.begun <= ended, self.commits[answered:])
        return range(answered, answered + 1 + sum(1 for _ in under_way))


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


def recorded(directory: Path, workload: Workload, beside: MariaDB | None = None) -> Recording:
    """Runs a server under strace while a client sends, and kills it. Its database is SQLite in its
    data directory, or a new one `beside` it."""
    record, data = directory / "calls", directory / "data"
    promises = Promises("alice")
    arguments: tuple[str, ...] = ()
    if beside is not None:
        name = beside.new_database()
        arguments = ("--database", beside.url(name))
        with closing(open_repository(beside.url(name))):
            pass  # its tables are made before the record begins
    # -D: the server is our child and strace its grandchild, which ends when the server does.
    through = ("strace", "-D", *strace(record, sockets=beside is not None)[1:])
    with ServerProcess4(data, *arguments, through=through) as server:
        workload(server.port, promises)
    _wait_for_end(record)
    of_all = list(calls(record))
    of_files = [call for call in of_all if call.name not in SOCKETS]
    if beside is None:
        return Recording(data, server.fingerprint, promises, of_files)
    done = commits(of_all, beside.unix_socket)
    _require_all_commits(done, beside, name)
    return Recording(data, server.fingerprint, promises, of_files, done)


def _require_all_commits(done: list[Commit], beside: MariaDB, name: str) -> None:
    """Or the model would be of another database: carried out again they give the same rows."""
    with closing(beside.connect(database=name)) as connection:
        found = contents(connection)
    with closing(Rows(beside, done)) as rows:
        assert found in [rows.state(count) for count in _answered(done)]


def _answered(done: list[Commit]) -> range:
    return range(sum(commit.answered < NEVER for commit in done), len(done) + 1)


def _wait_for_end(record: Path) -> None:
    deadline = time.monotonic() + END_SECONDS
    while "+++ killed by SIGKILL +++" not in record.read_text()[-200:]:
        assert time.monotonic() < deadline, "strace has not ended"
        time.sleep(0.02)
