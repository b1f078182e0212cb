"""Protocol-4 servers for tests, in this process and in one of their own."""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from server.config import Config
from server.listener import Listener
from server.repository import Repository, StoredFile
from server.serving import listening
from tests.peer4.client import Peer4
from tests.peer4.wire import RefusedError
from tests.server.hostile_process import ServerProcess

PATIENCE_SECONDS = 20.0
HONEST = b"honest bytes" * 100


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for what another thread or process is about to do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} s for: {what}"
        time.sleep(0.005)


def reason(call: Callable[[], object]) -> int:
    """Why the server refuses it, as it must."""
    with pytest.raises(RefusedError) as caught:
        call()
    return int(caught.value.reason)


@dataclass(frozen=True)
class Serving:
    """A server that serves, and what it keeps."""

    listener: Listener
    data: Path

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def repository(self) -> Repository:
        return self.listener.doors.services4.repository

    def peer(self, name: str = "alice", **given: Any) -> Peer4:  # noqa: ANN401 - as `Peer4` takes
        """A client that is not connected yet."""
        return Peer4(self.port, name, **given)

    def files(self) -> list[StoredFile]:
        """Every visible file."""
        return [f for c in self.repository.clients() for f in self.repository.files(c.id)]

    def path(self, file: StoredFile) -> Path:
        """Where the bytes of a file lie."""
        return self.data / file.client_id.hex() / file.object_id.hex()

    def stored(self) -> dict[str, bytes]:
        """The bytes of every visible file by its name."""
        return {file.name: self.path(file).read_bytes() for file in self.files()}

    def staged(self) -> list[Path]:
        """Files that are being received."""
        return list((self.data / "staging").iterdir())

    def objects(self) -> set[Path]:
        """Every object in place, whether a name leads to it or not."""
        return {
            path
            for directory in self.data.iterdir()
            if re.fullmatch("[0-9a-f]{32}", directory.name)
            for path in directory.iterdir()
        }

    def is_tidy(self) -> bool:
        """Whether the disk holds what the names lead to, nothing else and nothing reserved."""
        quota = self.listener.doors.services4.receiver.quota
        return (
            not self.staged()
            and self.objects() == {self.path(file) for file in self.files()}
            and not quota._reservations
        )


def settings(data: Path, **given: Any) -> Config:  # noqa: ANN401 - any setting of Config
    """Settings that suit a test."""
    defaults: dict[str, Any] = {
        "port": 0, "data": data, "grace_seconds": 5.0, "min_free_bytes": 0, "idle_seconds": 20.0,
        "registration": "open",
    }  # fmt: skip
    return Config(**(defaults | given))


@contextmanager
def serving(data: Path, **given: Any) -> Iterator[Serving]:  # noqa: ANN401 - any setting of Config
    """Serves until the context ends, then drains and checks that every thread has ended."""
    before = set(threading.enumerate())
    with listening(settings(data, **given)) as listener:
        accepting = threading.Thread(
            target=listener.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        accepting.start()
        try:
            yield Serving(listener, data)
        finally:
            listener.drain()
            accepting.join(5)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive(), f"{thread.name} outlived the server"


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts, builds no paths


def _threads() -> int:
    """How many threads there are beside those that all connections share."""
    return sum(not thread.name.startswith("digest") for thread in threading.enumerate())


def serves_honest(server: Serving, name: str = "honest") -> None:
    """A client of good will registers, sends a file and finds it stored."""
    with server.peer(name) as peer:
        peer.introduce()
        peer.put("honest.bin", HONEST)
        assert peer.get("honest.bin")[1] == HONEST


@contextmanager
def withstanding(parent: Path, **given: Any) -> Iterator[Serving]:  # noqa: ANN401 - any setting
    """A server in `parent`/data that, when the test's body has ended, still serves an honest
    client, keeps nothing that was never verified, has written nowhere else, and leaves no thread
    and no file descriptor behind."""
    beside = set(parent.iterdir())
    before = descriptors()
    with serving(parent / "data", **given) as server:
        unconnected = _threads()
        yield server
        until(lambda: _threads() <= unconnected, "every connection has ended")
        for row in list(server.repository.pending_uploads()):
            client = server.repository.find_client(row.client_id)
            assert client is not None
            server.listener.doors.services4.uploads.abandon(client, row.upload_id)
        until(server.is_tidy, "nothing is left of what was not stored")
        serves_honest(server)
    assert set(parent.iterdir()) == beside | {parent / "data"}
    assert descriptors() == before


class ServerProcess4(ServerProcess):
    """A server process at which anybody may register."""

    def __init__(
        self, data: Path, *arguments: str, host: str = "127.0.0.1", through: Sequence[str] = ()
    ) -> None:
        super().__init__(
            data, "--host", host, "--registration", "open", *arguments, through=through
        )
