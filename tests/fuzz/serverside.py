"""A server's parts for its sessions, quick enough to begin anew for every input.

Everything is the product's: the repository is its SQLite one with the database in memory, the
storage its directory in memory. Only the key that a challenge takes is known beforehand.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from protocol.contexts import challenge_context
from protocol.generations import GENERATIONS, generations_by_code
from server import serving
from server.access import Access, Challenge
from server.audit import Audit
from server.config import Config
from server.keys import KeyFile
from server.keytable import KeyTable
from server.receiving import Receiver
from server.repository import Client, StoredFile
from server.repository.migrations import migrate
from server.repository.sqlite import _DIALECT, SqliteRepository
from server.segmentmemory import SegmentMemory
from server.session3 import Services
from server.session4 import Services4
from server.storage import DirectoryStorage
from tests.fuzz import scratch
from tests.fuzz.replacing import replaced
from tests.vectors.load import HERE

CLIENT_ID = bytes(range(16))
SECRET = bytes(range(32))
FINGERPRINT = bytes(range(64, 96))
PROOF = bytes(range(32, 64))
ADDRESS = "127.0.0.1"
_SHORT_SECONDS = 0.001  # for segments that are said to be on their way and never come


class MemoryRepository(SqliteRepository):
    """The embedded repository in memory, which `begin_anew` takes back to its beginning."""

    def __init__(self, *clients: Client) -> None:
        self._path = Path(":memory:")
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._run("BEGIN EXCLUSIVE", lambda transaction: migrate(transaction, _DIALECT))
        for client in clients:
            self.add_client(client)
        self._beginning = self._connection.serialize()

    def begin_anew(self) -> None:
        """Forgets everything but the clients that it was made with."""
        self._connection.deserialize(self._beginning)


class KnownAccess(Access):
    """Challenges whose answers are known: RSA would take all the time there is."""

    def challenge(self, client_id: bytes, fingerprint: bytes) -> Challenge:
        challenge_context(fingerprint, client_id)
        client = self._repository.find_client(client_id)
        return Challenge(client, bytes(384), PROOF, SECRET)


@cache
def public_key() -> bytes:
    """The DER public key of the client that is registered: RSA of 3072 bits."""
    from Crypto.PublicKey import RSA

    key = RSA.import_key((HERE / "protocol4_client_key.pem").read_text())
    return key.public_key().export_key("DER")


@cache
def _repository() -> MemoryRepository:
    return MemoryRepository(Client(CLIENT_ID, "alice", 1, 1, public_key()))


@cache
def storage() -> DirectoryStorage:
    """The storage that all inputs use after each other."""
    return DirectoryStorage(data())


def data() -> Path:
    """Its directory."""
    return scratch.directory("server") / "data"


@cache
def _memory() -> SegmentMemory:
    return SegmentMemory()


@cache
def _key_file() -> KeyFile:
    storage()
    return KeyFile(data() / "server.key")


@cache
def _audit() -> Audit:
    # Its thread sleeps: what it would write is of no interest here.
    return Audit(_repository(), every_seconds=1e6)


def _config(**settings: object) -> Config:
    values: dict[str, object] = {
        "data": data(), "min_free_bytes": 0, "max_files_per_client": 20,
        "max_bytes_per_client": 64 * 2**20, "max_failed_attempts": 1000, "registration": "open",
    }  # fmt: skip
    return Config(**(values | settings))  # type: ignore[arg-type]


@contextmanager
def services3(generation_1025: str, reuse_keys_seconds: float) -> Iterator[Services]:
    """A server that serves protocol 3; nothing of it is left afterwards."""
    config = _config(reuse_keys_seconds=reuse_keys_seconds, generation_1025=generation_1025)
    repository = _emptied()
    table = KeyTable(reuse_keys_seconds, 10)
    by_code = generations_by_code(GENERATIONS[generation_1025])
    receiver = Receiver(repository, storage(), config)
    try:
        yield Services(config, repository, receiver, _key_file(), table, by_code, _audit())
    finally:
        table.clear()


@contextmanager
def services4() -> Iterator[Services4]:
    """A server that serves protocol 4, without files; its parts are put together as always."""
    config = _config(read_seconds=_SHORT_SECONDS)
    repository = _emptied()
    with replaced(serving, SegmentMemory=_memory):
        receiver = Receiver(repository, storage(), config)
        services = serving._services4(config, repository, receiver, _audit())
    yield replace(services, access=KnownAccess(repository, config.registration))


def _emptied() -> MemoryRepository:
    repository = _repository()
    repository.begin_anew()
    for client_id in [*storage().client_ids()]:
        for object_id in storage().object_ids(client_id):
            storage().path(client_id, object_id).unlink()
    storage().sweep_staging()
    return repository


def staged() -> set[str]:
    """Names of the files in staging."""
    return {path.name for path in (data() / "staging").iterdir()}


def content(file: StoredFile) -> bytes:
    """The bytes of a visible file."""
    return storage().path(file.client_id, file.object_id).read_bytes()
