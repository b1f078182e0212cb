"""Uploads that are interrupted at a chosen byte, and what of them is sent again."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from client.receipts import Receipt
from protocol.contexts import SEGMENT_BYTES
from server.repository import open_repository
from tests.faults.processes import ClientProgram, RestartableServer, end, finish, restartable
from tests.faults.relay import Link, Relay, relay_to

NAME = "resumed.bin"
_WAIT_SECONDS = 120.0

Interruption = Callable[["Bench", int], None]
"""Uploads the file, interrupted when the client has sent so many bytes, to its end."""


@dataclass
class Bench:
    """A server, a relay in front of it, a client, and the file that is uploaded over and over."""

    server: RestartableServer
    relay: Relay
    client: ClientProgram
    source: Path
    opening_bytes: int = 0
    """What a client sends on its connections beside content."""
    undisturbed_bytes: int = 0
    """What a client sends when nothing happens."""
    undisturbed_content: int = 0
    """That without the opening of connections."""
    happened_at: float = 0.0
    _happened: Event = field(default_factory=Event)
    _unread: int = 0
    _links: list[Link] = field(default_factory=list)

    def measure(self) -> None:
        """Finds out what an undisturbed upload takes."""
        small = self.source.with_name("small")
        small.write_bytes(os.urandom(SEGMENT_BYTES))
        self.relay.restart()
        self.client.run("put", str(small), "--as", "small")
        self.opening_bytes = self.relay.sent - SEGMENT_BYTES
        self.relay.restart()
        self.client.run("put", str(self.source), "--as", NAME)
        self.undisturbed_bytes = self.relay.sent
        self.undisturbed_content = self._content()
        self.client.forget_receipts()

    def start(self) -> "subprocess.Popen[str]":
        """Starts an upload."""
        return self.client.start("put", str(self.source), "--as", NAME)

    def at(self, position: int, action: Callable[[], None]) -> None:
        """Does something, once, when the client has sent so many bytes from now on."""
        self._happened.clear()

        def act() -> None:
            self._links = list(self.relay.links)
            self._unread = self.relay.unread_by_server()
            self.happened_at = time.monotonic()
            action()
            self._happened.set()

        self.relay.restart(position, act)

    def wait(self) -> None:
        """Waits until it has happened."""
        assert self._happened.wait(_WAIT_SECONDS), "the client never sent so much"

    def sent_again(self) -> int:
        """Bytes of content, with their framing and encryption, that were sent twice."""
        return max(self._content() - self.undisturbed_content, 0)

    def in_flight(self, position: int) -> int:
        """What the client had sent, or still sent on those connections, and no server had read."""
        return sum(link.sent for link in self._links) - position + self._unread

    def window(self, position: int) -> int:
        """What may be sent twice: one segment and what was in flight, with their framing and
        encryption."""
        framing = self.undisturbed_content / self.source.stat().st_size
        return int((SEGMENT_BYTES + self.in_flight(position)) * framing) + self.opening_bytes

    def _content(self) -> int:
        return sum(max(link.sent - self.opening_bytes, 0) for link in self.relay.links)

    def stored(self) -> bytes:
        """The bytes that the server has under the name; it has nothing unfinished."""
        with closing(open_repository(self.server.database_url)) as repository:
            (client,) = repository.clients()
            file = repository.find_file(client.id, NAME)
            assert list(repository.pending_uploads()) == []
        assert file is not None
        assert list((self.server.data / "staging").iterdir()) == []
        return (self.server.data / client.id.hex() / file.object_id.hex()).read_bytes()

    def receipt(self) -> Receipt:
        """The only one, verified; it is then forgotten."""
        (receipt,) = self.client.receipts()
        self.client.forget_receipts()
        return receipt


@contextmanager
def uploading(directory: Path, size: int) -> Iterator[Bench]:
    """All that it takes to upload a file of random bytes again and again."""
    source = directory / "source"
    source.write_bytes(os.urandom(size))
    with restartable(directory / "data") as server, relay_to(server.port) as relay:
        # A network that is silent is noticed soon.
        options = ("--timeout", "4", "--fingerprint", server.fingerprint)
        client = ClientProgram(relay.address, directory / "state", options)
        client.run("register", "alice")
        bench = Bench(server, relay, client, source)
        bench.measure()
        yield bench


def client_killed(bench: Bench, position: int) -> None:
    """The client is killed, and the same command given again."""
    running: list[subprocess.Popen[str]] = []

    def kill() -> None:
        running[0].kill()

    bench.at(position, kill)
    running.append(bench.start())
    bench.wait()
    end(running[0])
    finish(bench.start())


def server_killed(bench: Bench, position: int) -> None:
    """The server is killed and started again; the client gets over it by itself."""
    bench.at(position, bench.server.kill)
    running = bench.start()
    try:
        bench.wait()
        bench.server.start()
    finally:
        finish(running)


def network_reset(bench: Bench, position: int) -> None:
    """All connections are reset; the client gets over it by itself."""
    bench.at(position, bench.relay.reset_all)
    finish(bench.start())
    bench.wait()


def network_silent(bench: Bench, position: int) -> None:
    """Nothing moves on any connection any more, and neither side is told; the client gets over it
    by itself."""
    bench.at(position, bench.relay.swallow_all)
    finish(bench.start())
    bench.wait()
