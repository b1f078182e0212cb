"""The clients of a soak, each of which goes on in a thread of its own until told to stop.

Those that are honest count what they have moved, and what has failed; the others try what they can.
"""

import itertools
import os
import random
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from client import Client
from client.errors import ClientError
from tests.load import identities, results
from tests.load.attacks import KINDS
from tests.peer.client import PeerClient
from tests.peer4 import wire
from tests.peer4.client import Peer4
from tests.server.hostile_sessions import private_key

_SMALL_FILES = 20
_SMALL_BYTES = 4096
_PIECE_PAUSE_SECONDS = 0.2
_KEPT_NAMES = 4


@dataclass(slots=True)
class Tally:
    """What honest clients have done together."""

    transfers: int = 0
    bytes: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def moved(self, transfers: int, size: int) -> None:
        """So many files and bytes were stored or fetched, and were right."""
        with self.lock:
            self.transfers += transfers
            self.bytes += size

    def failed(self, who: str, error: BaseException) -> None:
        """An honest client was not served."""
        with self.lock:
            self.failures.append(f"{who}: {type(error).__name__}: {error}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the server is, where clients may write, how large large files are, and who counts."""

    directory: Path
    port: int
    fingerprint: str
    large_bytes: int
    attack_seconds: float
    tally: Tally
    stop: threading.Event


class Member(ABC):
    """One client of the mixture, with a name of its own."""

    honest = True

    def __init__(self, around: Surroundings, name: str) -> None:
        self.around = around
        self.name = name
        self.random = random.Random(name)
        self.numbers = itertools.count()
        self.directory = around.directory / name
        self.directory.mkdir()
        self._thread = threading.Thread(target=self._run, name=name)

    @abstractmethod
    def once(self) -> tuple[int, int]:
        """One round; how many files and bytes it has moved."""

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while not self.around.stop.is_set():
            try:
                self.around.tally.moved(*self.once())
            except Exception as error:  # noqa: BLE001 - every failure counts, whatever it is
                if self.honest:
                    self.around.tally.failed(self.name, error)


class _Product(Member):
    """A user of the product's client."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        self._state = identities.state(self.directory / "state", around.port, name)

    def client(self) -> Client:
        return Client(
            f"127.0.0.1:{self.around.port}", directory=self._state,
            fingerprint=self.around.fingerprint, retries=12,
        )  # fmt: skip


class Small(_Product):
    """Many small files together, then a list of them."""

    def once(self) -> tuple[int, int]:
        sources = []
        for number in range(_SMALL_FILES):
            source = self.directory / f"{number}"
            source.write_bytes(os.urandom(_SMALL_BYTES))
            sources.append((source, f"small/{number}"))
        stored: list[object] = []

        def told(result: object) -> None:
            stored.append(result)
            error: ClientError | None = getattr(result, "error", None)
            if error is not None:
                raise error

        with self.client() as client:
            client.put_many(sources, on_file=told)
            listed = sum(1 for _ in client.list("small/"))
        assert len(stored) == listed == _SMALL_FILES, f"{len(stored)} stored, {listed} listed"
        return _SMALL_FILES, _SMALL_FILES * _SMALL_BYTES


class Large(_Product):
    """A large file there and back."""

    def once(self) -> tuple[int, int]:
        source, copy = self.directory / "source", self.directory / "copy"
        size = self.around.large_bytes + self.random.randrange(1 << 20)
        block = os.urandom(1 << 20)
        with source.open("wb") as stream:
            for _ in range(size >> 20):
                stream.write(block)
            stream.write(block[: size & 0xFFFFF])
        name = f"large/{next(self.numbers) % _KEPT_NAMES}"
        with self.client() as client:
            receipt = client.put(source, name)
            client.get(name, copy)
        assert receipt.body.size == size
        subprocess.run(["cmp", source, copy], check=True)
        return 2, 2 * size


class Slow(Member):
    """A client that pauses between the segments, and within them."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        self._id = identities.registered(around.port, name)

    def once(self) -> tuple[int, int]:
        content = os.urandom((2 << 20) + 17)
        upload_id, salt = os.urandom(16), os.urandom(32)
        with identities.peer(self.around.port, self.name, client_id=self._id) as peer:
            peer.connect()
            peer.begin(upload_id, salt, "slow", len(content))
            key = peer.key_of(upload_id, salt)
            for index, final, plain in wire.pieces(content):
                sealed = wire.seal(key, upload_id, index, plain, final=final)
                self._dribble(peer, upload_id, index, sealed, final=final)
            receipt = peer.end(upload_id, len(content), wire.digest(content))
        assert receipt.sha256 == wire.digest(content)
        return 1, len(content)

    def _dribble(
        self, peer: Peer4, upload_id: bytes, index: int, sealed: bytes, *, final: bool
    ) -> None:
        fields = upload_id + index.to_bytes(8, "little") + bytes((final,))
        message = wire.message(wire.SEGMENT_CODE, fields + sealed, 1000 + index)
        for start in range(0, len(message), 1 << 18):
            peer.transmit(message[start : start + (1 << 18)])
            time.sleep(_PIECE_PAUSE_SECONDS)


class Dying(Member):
    """A client that is cut off somewhere in the middle of an upload, which another one ends."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        self._id = identities.registered(around.port, name)

    def once(self) -> tuple[int, int]:
        content = os.urandom(self.random.randrange(5 << 20))
        upload_id = os.urandom(16)
        for _ in range(self.random.randrange(3)):
            self._die(upload_id, content)
        with identities.peer(self.around.port, self.name, client_id=self._id) as peer:
            peer.connect()
            receipt = peer.upload("dying", content, upload_id=upload_id)
        assert receipt.sha256 == wire.digest(content)
        return 1, len(content)

    def _die(self, upload_id: bytes, content: bytes) -> None:
        peer = identities.peer(self.around.port, self.name, client_id=self._id).open()
        try:
            peer.connect()
            salt = os.urandom(32)
            offset = peer.begin(upload_id, salt, "dying", len(content))
            if isinstance(offset, int):
                cut = self.random.randrange(offset, len(content) + 1)
                peer.send_content(upload_id, salt, content[:cut], offset)
        finally:
            peer.cut()


class Published(Member):
    """A client of protocol 3."""

    def once(self) -> tuple[int, int]:
        number = next(self.numbers)
        content = os.urandom(self.random.randrange(100_000))
        generation = ("2023a", "2024c")[number % 2]
        peer = PeerClient(
            self.around.port, generation, name=f"{self.name}-{number}", private_key=private_key(),
            timeout=60.0,
        )  # fmt: skip
        try:
            peer.connect()
            peer.register()
            peer.send_public_key()
            peer.send_file("file", content)
            peer.crc_valid("file")
        finally:
            peer.close()
        return 1, len(content)


class Hostile(Member):
    """One attack after the other, each for a short time."""

    honest = False

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        self._id = identities.registered(around.port, name)
        self._kinds = itertools.cycle(KINDS)

    def once(self) -> tuple[int, int]:
        attack = subprocess.Popen(
            [sys.executable, "-m", "tests.load.attacks", next(self._kinds), "--port",
             str(self.around.port), "--client-id", self._id.hex(), "--seconds",
             str(self.around.attack_seconds), "--connections", "100"],
            cwd=results.ROOT, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while attack.poll() is None and not self.around.stop.wait(0.2):
                pass
        finally:
            attack.kill()
            attack.wait()
        return 0, 0


MEMBERS: tuple[tuple[str, Callable[[Surroundings, str], Member]], ...] = (
    ("small-1", Small), ("small-2", Small), ("large", Large), ("slow", Slow), ("dying-1", Dying),
    ("dying-2", Dying), ("published", Published), ("hostile", Hostile),
)  # fmt: skip
"""Who takes part, by name."""
