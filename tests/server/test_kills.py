"""A server that is killed at any moment has lost nothing that it acknowledged.

The short form runs always; `-m soak` runs a hundred kills on each database and prints the figures.
"""

import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server.repository import Repository, open_repository
from tests.peer.cksum import cksum
from tests.peer.client import PeerClient
from tests.server.hostile_process import ServerProcess
from tests.server.hostile_sessions import private_key
from tests.server.hostile_surroundings import until

GENERATIONS = ("2023a", "2024a", "2024c")
NAMES = ("a", "b", "c")
SIZES = (0, 100, 5_000, 60_000, 300_000)
LONGEST_SECONDS = 0.4


@dataclass
class Ledger:
    """What one client was promised, by file name, and what it may have been given besides."""

    name: str
    generation: str
    client_id: bytes | None = None
    acknowledged: dict[str, bytes] = field(default_factory=dict)
    unanswered: dict[str, list[bytes]] = field(default_factory=dict)
    """Sent to the end after the acknowledged one; the answer to the verdict was not read."""
    acknowledgements: int = 0

    def client(self, port: int) -> PeerClient:
        return PeerClient(
            port,
            self.generation,
            name=self.name,
            client_id=self.client_id,
            private_key=private_key(),
        )

    def register(self, port: int) -> None:
        with self.client(port) as client:
            self.client_id = client.register()
            client.send_public_key()

    def upload(self, port: int, seed: int, killed: threading.Event) -> None:
        """Sends file after file until the server is gone."""
        chance = random.Random(seed)
        try:
            with self.client(port) as client:
                client.reconnect()
                while not killed.is_set():
                    self._send(client, chance.choice(NAMES), chance.randbytes(chance.choice(SIZES)))
        except (OSError, EOFError):
            return  # killed

    def _send(self, client: PeerClient, name: str, content: bytes) -> None:
        assert client.send_file(name, content).checksum == cksum(content)
        self.unanswered.setdefault(name, []).append(content)
        client.crc_valid(name)
        self.acknowledged[name] = content
        self.unanswered[name] = []
        self.acknowledgements += 1

    def lost(self, stored: dict[tuple[str, str], bytes]) -> int:
        """How many of its files are neither what was promised nor sent after it; what is there now
        is promised from here on."""
        lost = 0
        for name in NAMES:
            now, promised = stored.get((self.name, name)), self.acknowledged.get(name)
            lost += now != promised and now not in self.unanswered.get(name, [])
            if now is not None:
                self.acknowledged[name] = now
        self.unanswered.clear()
        return lost


def stored(data: Path, repository: Repository) -> dict[tuple[str, str], bytes]:
    """Every visible file, which is whole, as the database says, with no other object beside."""
    assert list((data / "staging").iterdir()) == []
    assert repository.superseded() == []
    found: dict[tuple[str, str], bytes] = {}
    known = set()
    for client in repository.clients():
        for file in repository.files(client.id):
            path = data / client.id.hex() / file.object_id.hex()
            content = path.read_bytes()
            assert (len(content), cksum(content)) == (file.size, file.cksum)
            found[client.name, file.name] = content
            known.add(path)
    assert set(data.glob("?" * 32 + "/*")) == known
    return found


def acknowledged(ledgers: list[Ledger]) -> int:
    """How many acknowledgements have been read."""
    return sum(ledger.acknowledgements for ledger in ledgers)


def wait_for_more(ledgers: list[Ledger], before: int) -> None:
    """Waits until uploads are in full swing."""
    until(lambda: acknowledged(ledgers) > before, "a file is acknowledged")


@dataclass
class Figures:
    """What came of it."""

    kills: int
    acknowledged: int
    lost: int
    set_aside: int


def kill_again_and_again(data: Path, database_url: str, kills: int) -> Figures:
    """Kills the server so many times while clients upload, and looks after each restart."""
    ledgers = [Ledger(f"client {number}", GENERATIONS[number]) for number in range(3)]
    lost = 0
    for kill in range(kills + 1):
        with ServerProcess(data, "--database", database_url) as server:
            with closing(open_repository(database_url)) as repository:
                there = stored(data, repository)
            lost += sum(ledger.lost(there) for ledger in ledgers)
            if kill == 0:
                for ledger in ledgers:
                    ledger.register(server.port)
            if kill == kills:
                break
            killed = threading.Event()
            with ThreadPoolExecutor(len(ledgers)) as executor:
                before = acknowledged(ledgers)
                running = [
                    executor.submit(ledger.upload, server.port, random.getrandbits(32), killed)
                    for ledger in ledgers
                ]
                wait_for_more(ledgers, before)
                time.sleep(random.uniform(0, LONGEST_SECONDS))
                server.kill()
                killed.set()
            for upload in running:
                upload.result()
    set_aside = len(list((data / "orphans").glob("*/*")))
    return Figures(kills, acknowledged(ledgers), lost, set_aside)


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str], database_url: str) -> Callable[[Figures], None]:
    """Prints the figures past pytest's capture."""

    def write(figures: Figures) -> None:
        kind = database_url.partition(":")[0]
        with capsys.disabled():
            sys.stdout.write(f"\n{kind}: {figures}\n")

    return write


@pytest.mark.parametrize(
    ("database_url", "kills"), [("sqlite", 6), ("mariadb", 3)], indirect=["database_url"]
)
def test_a_killed_server_has_lost_nothing_that_it_acknowledged(
    tmp_path: Path, database_url: str, kills: int, report: Callable[[Figures], None]
) -> None:
    figures = kill_again_and_again(tmp_path / "data", database_url, kills)
    report(figures)
    assert figures.lost == 0
    assert figures.acknowledged > 0


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_hundred_kills_lose_nothing_that_was_acknowledged(
    tmp_path: Path, database_url: str, report: Callable[[Figures], None]
) -> None:
    figures = kill_again_and_again(tmp_path / "data", database_url, 100)
    report(figures)
    assert figures.lost == 0
    assert figures.acknowledged > 100
