"""Sessions of the product with no network, and a test peer that speaks to one."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

from cryptography.hazmat.primitives.asymmetric import rsa

from protocol.generations import GENERATIONS, generations_by_code
from server.audit import Audit
from server.keys import KeyFile
from server.keytable import KeyTable
from server.receiving import Receiver
from server.repository import Repository, StoredFile, open_repository
from server.session3 import Services, Session3
from server.storage import DirectoryStorage
from tests.peer import crypto, wire
from tests.peer.cksum import cksum
from tests.peer.client import PeerClient
from tests.peer.style import Style
from tests.server.running import settings_for_tests
from tests.vectors.load import load_private_key

LOCALHOST = "127.0.0.1"


class PeerSettings(TypedDict, total=False):
    """What a test may say about its peer, as in `PeerClient`."""

    name: str | bytes
    style: Style
    client_id: bytes | None
    private_key: rsa.RSAPrivateKey | None


@functools.cache
def private_key() -> rsa.RSAPrivateKey:
    """One RSA key for all clients to which it does not matter, since making one takes its time."""
    return crypto.load_private(load_private_key())


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class SessionPeer(PeerClient):
    """A `PeerClient` whose server is one `Session3` in this process.

    Reading an answer that did not come raises `wire.ConnectionEnded`."""

    def __init__(
        self, session: Session3, generation: str = "2023a", **given: Unpack[PeerSettings]
    ) -> None:
        super().__init__(0, generation, **given)
        self.session = session
        self.answers = bytearray()

    def connect(self) -> None:
        """There is nothing to connect."""

    def close(self) -> None:
        self.session.close()
        super().close()

    def send_raw(self, data: bytes) -> None:
        """Feeds the session, unless it has ended as a listener would have seen."""
        step = self.style.piece_size or max(len(data), 1)
        for start in range(0, len(data), step):
            if self.session.ended:
                return
            for response in self.session.receive(memoryview(data[start : start + step])):
                self.answers += response

    def read_response(self) -> tuple[int, int, bytes]:
        if not self.answers:
            raise wire.ConnectionEnded(0, wire.RESPONSE_HEADER.size)
        version, code, size = wire.RESPONSE_HEADER.unpack_from(self.answers)
        end = wire.RESPONSE_HEADER.size + size
        payload = bytes(self.answers[wire.RESPONSE_HEADER.size : end])
        del self.answers[:end]
        return version, code, payload

    def store(self, file_name: str, content: bytes) -> None:
        """Sends a file and has it kept."""
        assert self.send_file(file_name, content).checksum == cksum(content)
        self.crc_valid(file_name)

    def codes(self) -> list[int]:
        """The codes of all answers that have not been read."""
        codes = []
        while self.answers:
            codes.append(self.read_response()[1])
        return codes


def badly_padded(client: PeerClient, file_name: str = "file") -> bytes:
    """A request of a file whose padding is wrong under the client's own key."""
    assert client.aes_key is not None
    ciphertext = crypto.encrypt(client.aes_key, bytes(32))[:32]  # ends in a plain zero
    field = client.style.name_field(file_name.encode())
    if client.generation.in_packets:
        header = wire.PACKET_HEADER.pack(len(ciphertext), 20, 1, 1, field)
    else:
        header = wire.FILE_HEADER.pack(len(ciphertext), field)
    return client.request(client.generation.send_file, header + ciphertext)


@dataclass
class Sessions:
    """What a server consists of, without its listener; `peer` opens a connection to it."""

    services: Services
    data: Path
    clock: Clock
    _peers: list[PeerClient] = field(default_factory=list)

    def peer(
        self, generation: str = "2023a", *, address: str = LOCALHOST, **given: Unpack[PeerSettings]
    ) -> SessionPeer:
        """A peer on a connection of its own, with a ready RSA key unless one is given."""
        session = Session3(self.services, address)
        style = given.get("style", Style())
        if style.public_key_bits == 1024:
            given.setdefault("private_key", private_key())
        peer = SessionPeer(session, generation, **given)
        self._peers.append(peer)
        return peer

    def introduced(
        self, generation: str = "2023a", *, address: str = LOCALHOST, **given: Unpack[PeerSettings]
    ) -> SessionPeer:
        """A peer that has registered and has its AES key."""
        peer = self.peer(generation, address=address, **given)
        peer.register()
        peer.send_public_key()
        return peer

    def again(
        self,
        known: PeerClient,
        *,
        address: str = LOCALHOST,
        name: str | bytes | None = None,
        client_id: bytes | None = None,
    ) -> SessionPeer:
        """A new connection of a client that is known, before its first request."""
        peer = self.peer(
            known.generation.name,
            address=address,
            name=known.name if name is None else name,
            client_id=known.client_id if client_id is None else client_id,
            private_key=known.private_key,
        )
        peer.aes_key = known.aes_key
        return peer

    @property
    def repository(self) -> Repository:
        return self.services.repository

    def files(self) -> list[StoredFile]:
        """Every visible file."""
        return [
            file
            for client in self.repository.clients()
            for file in self.repository.files(client.id)
        ]

    def stored(self) -> dict[str, bytes]:
        """The bytes of every visible file, by its name alone."""
        return {
            file.name: (self.data / file.client_id.hex() / file.object_id.hex()).read_bytes()
            for file in self.files()
        }

    def staged(self) -> list[Path]:
        """Files that are being received or await their verdict."""
        return list((self.data / "staging").iterdir())

    def close_peers(self) -> None:
        """Ends every connection."""
        for peer in self._peers:
            peer.close()
        self._peers.clear()


@contextmanager
def sessions(
    data: Path, wrap: Callable[[Repository], Repository] = lambda repository: repository,
    **settings: object,
) -> Iterator[Sessions]:  # fmt: skip
    """The parts of a server; `wrap` may put a double between sessions and repository."""
    config = settings_for_tests(data, **settings)
    clock = Clock()
    with ExitStack() as stack:
        storage = stack.enter_context(closing(DirectoryStorage(data)))
        repository = wrap(stack.enter_context(closing(open_repository(config.database_url))))
        receiver = Receiver(repository, storage, config)
        table = KeyTable(config.reuse_keys_seconds, config.max_connections, clock)
        stack.callback(table.clear)
        by_code = generations_by_code(GENERATIONS[config.generation_1025])
        key_file = KeyFile(data / "server.key")
        audit = stack.enter_context(closing(Audit(repository)))
        services = Services(config, repository, receiver, key_file, table, by_code, audit)
        made = Sessions(services, data, clock)
        stack.callback(made.close_peers)
        yield made
