"""A server under attack, and the checks that it came out of it whole."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peer.client import PeerClient
from tests.server.hostile_sessions import private_key
from tests.server.running import Running, running

PATIENCE_SECONDS = 20.0
HONEST = b"honest bytes" * 100


class PeerFrom(PeerClient):
    """A `PeerClient` that comes from another loopback address."""

    source = "127.0.0.2"

    def connect(self) -> None:
        self._socket = socket.create_connection(
            self.address, self.timeout, source_address=(self.source, 0)
        )


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for what another thread or process is about to do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} s for: {what}"
        time.sleep(0.005)


def closed_by_server(sock: socket.socket) -> bool:
    """Reads to the connection's end; False when it stays open for the socket's timeout."""
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def serves_honest(server: Running, name: str = "honest") -> None:
    """A client of good will registers, sends a file and finds it stored."""
    with PeerClient(server.port, name=name, private_key=private_key()) as client:
        assert client.run("honest.bin", HONEST).verified
    assert client.violations == []
    assert server.stored()[name, "honest.bin"] == HONEST


def descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts, builds no paths


@contextmanager
def withstanding(parent: Path, **settings: object) -> Iterator[Running]:
    """A server in `parent`/data that, when the test's body has ended, still serves an honest
    client, keeps nothing of what was never verified, has written nowhere else, and leaves no
    thread (checked by `running`) and no file descriptor behind."""
    beside = set(parent.iterdir())
    before = descriptors()
    with running(parent / "data", **settings) as server:
        unconnected = threading.active_count()
        yield server
        until(lambda: threading.active_count() <= unconnected, "every connection has ended")
        until(lambda: not server.staged(), "staging is empty")
        serves_honest(server)
        known = {server.path(f) for c in server.repository.clients()
                 for f in server.repository.files(c.id)}  # fmt: skip
        objects = {path for path in server.data.glob("*/*") if path.parent.name != "staging"}
        assert objects == known
    assert set(parent.iterdir()) == beside | {parent / "data"}
    assert descriptors() == before
