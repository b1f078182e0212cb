"""Clients that send files and remember what they were promised, whatever happens in between."""

import hashlib
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.peer.cksum import cksum
from tests.peer.client import PeerClient, UnexpectedResponse
from tests.peer4 import wire
from tests.peer4.client import Peer4, StreamCut
from tests.peer4.wire import Receipt, RefusedError
from tests.server.hostile_sessions import private_key
from tests.server.hostile_surroundings import PeerFrom

Stored = Mapping[tuple[str, str], bytes]
"""The bytes of every visible file by client name and file name."""

_SIZES = (0, 100, 5_000, 60_000, 300_000)
_NAMES = ("a", "b", "c")
_FAILURES = (OSError, EOFError, StreamCut, RefusedError, UnexpectedResponse)


class NotSent(Exception):
    """The server, or the network, did not take a file; the connection is closed."""


class Sender(ABC):
    """One client; it may be used by one thread at a time."""

    protocol: str

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self.acknowledged: dict[str, bytes] = {}
        self.unanswered: dict[str, list[bytes]] = {}
        """Sent whole after the acknowledged one, not answered well: may be there all the same."""
        self.acknowledgements = 0
        self.failures = 0
        self.patience_seconds = 60.0
        """How long it waits for an answer, over connections that it makes from now on."""
        self.sources: Sequence[str] = ("127.0.0.1",)
        """Addresses that its connections come from, in turn at random."""
        self._chance = random.Random()

    @abstractmethod
    def register(self) -> None:
        """Becomes known to the server."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection, if there is one."""

    @abstractmethod
    def _send(self) -> None:
        """Sends a file or some, over a new connection where there is none."""

    def send(self) -> None:
        """Sends a file or some; raises `NotSent`."""
        try:
            self._send()
        except _FAILURES as error:
            self.close()
            self.failures += 1
            raise NotSent(f"{self.name}: {type(error).__name__}: {error}") from error

    def _sent(self, name: str, content: bytes) -> None:
        self.unanswered.setdefault(name, []).append(content)

    def _promised(self, name: str, content: bytes) -> None:
        self.acknowledged[name] = content
        self.unanswered[name] = []
        self.acknowledgements += 1

    def _content(self) -> bytes:
        return self._chance.randbytes(self._chance.choice(_SIZES))

    def losses(self, stored: Stored) -> list[str]:
        """Its names under which there is neither what was promised nor anything sent after it.

        What is there now is promised from here on: nothing is under way."""
        own = {name: content for (owner, name), content in stored.items() if owner == self.name}
        lost = []
        for name in own.keys() | self.acknowledged.keys():
            there = own.get(name)
            if there != self.acknowledged.get(name) and there not in self.unanswered.get(name, ()):
                lost.append(f"{self.name}/{name}")
        self.acknowledged = own
        self.unanswered.clear()
        return lost


class Sender3(Sender):
    """A client of protocol 3."""

    protocol = "3"

    def __init__(self, name: str, port: int, generation: str = "2024a") -> None:
        super().__init__(name, port)
        self._generation = generation
        self._client_id: bytes | None = None
        self._peer: PeerClient | None = None

    def register(self) -> None:
        with self._new() as peer:
            self._client_id = peer.register()
            peer.send_public_key()

    def close(self) -> None:
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()

    def _new(self) -> PeerClient:
        peer = PeerFrom(
            self.port, self._generation, name=self.name, client_id=self._client_id,
            private_key=private_key(), timeout=self.patience_seconds,
        )  # fmt: skip
        peer.source = self._chance.choice(self.sources)
        return peer

    def _name(self) -> str:
        return self._chance.choice(_NAMES)

    def _send(self) -> None:
        if self._peer is None:
            self._peer = self._new()
            self._peer.connect()
            self._peer.reconnect()
        name, content = self._name(), self._content()
        assert self._peer.send_file(name, content).checksum == cksum(content)
        self._sent(name, content)
        self._peer.crc_valid(name)
        self._promised(name, content)


class Sender4(Sender):
    """A client of protocol 4: small files together, or a large one, resumed until it is there."""

    protocol = "4"

    def __init__(self, name: str, port: int) -> None:
        super().__init__(name, port)
        self._peer = Peer4(port, name)
        self._is_open = False
        self._large: tuple[bytes, str, bytes] | None = None

    def register(self) -> None:
        self._peer.source = self._chance.choice(self.sources)
        with self._peer:
            self._peer.register()

    def close(self) -> None:
        self._is_open = False
        self._peer.cut()

    def _send(self) -> None:
        if not self._is_open:
            self._peer.timeout = self.patience_seconds
            self._peer.source = self._chance.choice(self.sources)
            self._peer.open()
            self._is_open = True
            self._peer.connect()
        if self._large is not None or self._chance.random() < 0.2:
            self._send_large()
        else:
            self._send_small()

    def _name(self, kind: str) -> str:
        return kind

    def _send_small(self) -> None:
        count = self._chance.choice((1, 3, 12))
        batch = {
            self._name(f"small {number}"): self._content()[: wire.SMALL] for number in range(count)
        }
        requests = []
        for name, content in batch.items():
            self._sent(name, content)
            requests.append(self._peer.send_put(name, content))
        for request, (name, content) in zip(requests, batch.items(), strict=True):
            receipt = self._peer.stored(request)
            assert receipt.sha256 == hashlib.sha256(content).digest()
            self._promised(name, content)

    def _send_large(self) -> None:
        if self._large is None:
            size = self._chance.randrange(wire.SEGMENT, 3 * wire.SEGMENT)
            content = self._chance.randbytes(size)
            self._large = self._chance.randbytes(16), self._name("large"), content
        upload_id, name, content = self._large
        salt = self._chance.randbytes(32)
        try:
            begun = self._peer.begin(upload_id, salt, name, len(content))
            if not isinstance(begun, Receipt):
                self._peer.send_content(upload_id, salt, content, begun)
                self._sent(name, content)
                self._peer.end(upload_id, len(content), hashlib.sha256(content).digest())
        except RefusedError:
            self._large = None  # the next one takes another upload id
            raise
        self._large = None
        self._promised(name, content)


class Hoarder3(Sender3):
    """A client that never replaces a file; its names are long."""

    def _name(self) -> str:
        return f"file {self._chance.getrandbits(256):0200}"


class Hoarder4(Sender4):
    """A client that never replaces a file; its names are long."""

    def _name(self, kind: str) -> str:
        return f"{kind} {self._chance.getrandbits(256):0200}"


def until_refused(sender: Sender) -> bool:
    """Sends until a file is not taken; whether that came soon."""
    for _ in range(1000):
        try:
            sender.send()
        except NotSent:
            return True
    return False


def four_senders(port: int) -> list[Sender]:
    """Two clients of each protocol."""
    return [
        Sender3("three", port, "2023a"),
        Sender3("also three", port, "2024c"),
        Sender4("four", port),
        Sender4("also four", port),
    ]


def two_hoarders(port: int) -> list[Sender]:
    """A client of each protocol, with files that are all new."""
    return [Hoarder3("hoarder three", port), Hoarder4("hoarder four", port)]


def failures(senders: list[Sender]) -> int:
    """How often they failed to send."""
    return sum(sender.failures for sender in senders)


def acknowledgements(senders: list[Sender]) -> int:
    """How many files they were promised so far."""
    return sum(sender.acknowledgements for sender in senders)


@contextmanager
def sending(
    senders: list[Sender],
    *,
    until_failure: bool = False,
    reconnecting: bool = False,
    enter: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """All of them send, each in a thread, until the context ends; with `until_failure` each until
    its first one, with `reconnecting` each time over a new connection. Each thread begins with
    `enter`."""
    stop = threading.Event()

    def work(sender: Sender) -> None:
        while not stop.is_set():
            try:
                sender.send()
            except NotSent:
                if until_failure:
                    return
                stop.wait(0.05)
            if reconnecting:
                sender.close()

    with ThreadPoolExecutor(len(senders), initializer=enter) as executor:
        running = [executor.submit(work, sender) for sender in senders]
        try:
            yield
        finally:
            stop.set()
    for one in running:
        one.result()
