"""What must hold after every fault, and the looking it takes to know."""

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from server.repository import Repository, StoredFile, open_repository
from tests.faults.processes import RestartableServer
from tests.faults.senders import NotSent, Sender, Stored, acknowledgements
from tests.peer.cksum import cksum

_PATIENCE_SECONDS = 60.0
_SHARED_THREADS = os.cpu_count() or 1
"""Those that sum segments up are made when there is the first large file."""
_LOOK_SECONDS = 0.1
IS_GONE = " is gone"
_ID = re.compile("[0-9a-f]{32}")
_MEMORY_BYTES = 48 * 2**20
"""Python's allocator keeps what it once had; this is little beside what a leak of content takes."""


@dataclass(frozen=True)
class Resources:
    """What a process holds."""

    threads: int
    descriptors: int
    memory_bytes: int

    @classmethod
    def of(cls, pid: int) -> "Resources":
        status = Path(f"/proc/{pid}/status").read_text()
        found = dict(re.findall(r"^(Threads|VmRSS):\s+(\d+)", status, re.MULTILINE))
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - counts, builds no paths
        return cls(int(found["Threads"]), descriptors, int(found["VmRSS"]) * 1024)

    def is_like(self, before: "Resources", connections: int) -> bool:
        """Whether it holds no more than before, but for so many connections to a database."""
        return (
            self.threads <= before.threads + _SHARED_THREADS
            and self.descriptors <= before.descriptors + connections
            and self.memory_bytes <= before.memory_bytes + _MEMORY_BYTES
        )


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Waits for what another process is about to do."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {_PATIENCE_SECONDS:g} s: {what()}"
        time.sleep(0.01)


class Watch:
    """A server process, seen from outside: how it was before a fault and is after it."""

    def __init__(
        self,
        server: RestartableServer,
        senders: Sequence[Sender],
        *,
        inspected_url: str | None = None,
    ) -> None:
        """`inspected_url` is where to look into the database, if not where the server does."""
        self.server = server
        self._inspected_url = inspected_url or server.database_url
        self.senders = list(senders)
        self.before: Resources | None = None
        self.is_sound = True
        """Whether the last look at it, by `losses`, found nothing wrong."""
        self.restarts = 0
        """How often it took a restart to make disk and database agree to the last object."""
        self.stored: Stored = {}
        """What was visible when `losses` looked."""

    def warm_up(self) -> None:
        """Registers all senders, lets each send, and remembers what the server holds when idle."""
        for sender in self.senders:
            sender.register()
            for _ in range(3):
                sender.send()
            sender.close()
        self.remember()

    def remember(self) -> None:
        """Takes what the server holds now, idle, as what it should come back to."""
        self._hang_up()
        until(self._has_no_connection, lambda: f"connections end, {self._now()}")
        self.before = self._now()

    @property
    def database(self) -> str:
        """The kind of database, for people."""
        return "SQLite" if self.server.database_url.startswith("sqlite") else "MariaDB"

    def set_aside(self) -> int:
        """How many objects starts have set aside because the database did not know them."""
        return len(list((self.server.data / "orphans").glob("*/*")))

    def client_directories(self) -> list[Path]:
        """Where the senders' objects lie."""
        return [path for path in self.server.data.iterdir() if _ID.fullmatch(path.name)]

    def wait_for_more(self, seconds: float) -> None:
        """Waits until another file is acknowledged, and for a random time of up to so long."""
        before = acknowledgements(self.senders)
        until(lambda: acknowledgements(self.senders) > before, lambda: self.server.log[-3000:])
        time.sleep(random.uniform(0, seconds))

    def _now(self) -> Resources:
        return Resources.of(self.server.pid)

    def _has_no_connection(self) -> bool:
        port = f":{self.server.port:04X}"
        # Of the server's network, which need not be the one of this process.
        lines = Path(f"/proc/{self.server.pid}/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        # Established, or closed by the other side alone (RFC 9293, 3.3.2).
        return not any(row[1].endswith(port) and row[3] in ("01", "08") for row in rows)

    def serves_next(self, since: float) -> float:
        """Every sender gets a file through, over a new connection; the seconds since then until
        the first try that succeeded for each."""
        self._hang_up()
        for sender in self.senders:
            until(partial(sent, sender), lambda: self.server.log[-3000:])
        return time.monotonic() - since

    def _hang_up(self) -> None:
        for sender in self.senders:
            sender.close()

    def losses(self) -> list[str]:
        """After the senders have ended: what was lost. Checks everything else that must hold."""
        self.is_sound = False
        self._hang_up()
        before = self.before
        connections = 0 if self.server.database_url.startswith("sqlite") else 32
        if before is not None:
            until(
                lambda: self._now().is_like(before, connections),
                lambda: f"resources are back, {before} {self._now()}\n{self.server.log[-2000:]}",
            )
        with closing(open_repository(self._inspected_url)) as repository:
            left = self._left(repository)
            self.stored = visible(self.server.data, repository)
        if left:
            self._tidied_by_a_restart(left)
        lost = [name for sender in self.senders for name in sender.losses(self.stored)]
        self.is_sound = not lost
        return lost

    def _left(self, repository: Repository) -> list[str]:
        """What is untidy once two looks agree: a server goes on publishing what a client that is
        gone had sent, and rows are not read at the same moment as directories.

        A row without its object would be left for good, and no restart is to hide it."""
        looks: list[tuple[list[str], list[StoredFile]]] = [([], [])]

        def agree() -> bool:
            looks.append((untidy(self.server.data, repository), _rows(repository)))
            if looks[-1] == looks[-2] and not any(what.endswith(IS_GONE) for what in looks[-1][0]):
                return True
            time.sleep(_LOOK_SECONDS)
            return False

        until(agree, lambda: f"disk and database agree, {looks[-1][0]}")
        return looks[-1][0]

    def _tidied_by_a_restart(self, left: list[str]) -> None:
        """What could not be removed, and objects whose commit failed, are left to the next sweep
        or start."""
        self.restarts += 1
        self.server.stop()
        self.server.start()
        with closing(open_repository(self._inspected_url)) as repository:
            assert untidy(self.server.data, repository) == [], left
            assert visible(self.server.data, repository) == self.stored
        self.remember()


def sent(sender: Sender) -> bool:
    """Whether a file could be sent."""
    try:
        sender.send()
    except NotSent:
        return False
    return True


def untidy(data: Path, repository: Repository) -> list[str]:
    """Where disk and database do not agree: objects without a row, rows without their object,
    staged files that nobody will resume, replaced objects that are still there."""
    rows = _rows(repository)
    there = {
        path.relative_to(data)
        for directory in data.iterdir()
        if _ID.fullmatch(directory.name)
        for path in directory.iterdir()
    }
    known = {_path(file) for file in rows}
    pending = list(repository.pending_uploads())
    resumable = {row.object_id.hex() for row in pending}
    # An upload whose publication failed has its object in place, until it is begun again.
    unpublished = {Path(row.client_id.hex()) / row.object_id.hex() for row in pending}
    staged = {path.name for path in (data / "staging").iterdir()}
    return [
        *(f"{path} has no row" for path in there - known - unpublished),
        *(f"{path}{IS_GONE}" for path in known - there),
        *(f"staging/{name} is nobody's" for name in staged - resumable),
        *(f"{object_id.hex()} was replaced" for _, object_id in repository.superseded()),
    ]


def _rows(repository: Repository) -> list[StoredFile]:
    return [file for client in repository.clients() for file in repository.files(client.id)]


def visible(data: Path, repository: Repository) -> Stored:
    """Every visible file, each of the size and sum that its row tells."""
    stored = {}
    for client in repository.clients():
        for file in repository.files(client.id):
            content = (data / _path(file)).read_bytes()
            assert len(content) == file.size, f"{client.name}/{file.name}"
            if file.sha256 is not None:
                assert hashlib.sha256(content).digest() == file.sha256, f"{client.name}/{file.name}"
            else:
                assert _cksum(content) == file.cksum, f"{client.name}/{file.name}"
            stored[client.name, file.name] = content
    return stored


# An independent one is slow, and the same files are looked at again and again.
_cksum = lru_cache(maxsize=64)(cksum)


def _path(file: StoredFile) -> Path:
    return Path(file.client_id.hex()) / file.object_id.hex()
