"""What the connections of one `PeerServer` share, behind one lock."""

import threading
from collections import Counter
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer.behaviour import Behaviour, Do, Fault
from tests.peer.generations import Generation


@dataclass(frozen=True)
class Client:
    """A client the server knows; without a public key it cannot reconnect."""

    name: str
    client_id: bytes
    public_key: rsa.RSAPublicKey | None


@dataclass(frozen=True)
class Seen:
    """A request as it came: the number of its connection (from 1), its kind, code and bytes."""

    connection: int
    kind: str
    code: int
    client_id: bytes
    payload: bytes


class Shared:
    """Clients, files, log and what is left of the faults of one server."""

    def __init__(self, generation: Generation, behaviour: Behaviour) -> None:
        self.generation = generation
        self.behaviour = behaviour
        self.clients: dict[bytes, Client] = {}
        self.files: dict[tuple[str, str], bytes] = {}
        self.log: list[Seen] = []
        self.violations: list[str] = []
        self._lock = threading.Lock()
        self._general_errors = Counter(behaviour.general_errors)
        self._wrong_checksums = behaviour.wrong_checksums
        self._headers: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()

    def report(self, violation: str) -> None:
        with self._lock:
            self.violations.append(violation)

    def see(self, seen: Seen) -> None:
        with self._lock:
            self.log.append(seen)

    def keep(self, client_name: str, file_name: str, content: bytes) -> None:
        with self._lock:
            self.files[client_name, file_name] = content

    def add_client(self, client: Client) -> Client:
        with self._lock:
            self.clients[client.client_id] = client
        return client

    def client(self, client_id: bytes) -> Client | None:
        with self._lock:
            return self.clients.get(client_id)

    def take_general_error(self, kind: str) -> bool:
        """Whether this message is to meet the general error."""
        with self._lock:
            self._general_errors[kind] -= 1
            return self._general_errors[kind] >= 0

    def take_wrong_checksum(self) -> bool:
        """Whether this file is to be answered with a wrong checksum."""
        with self._lock:
            self._wrong_checksums -= 1
            return self._wrong_checksums >= 0

    def fault_at_header(self, kind: str) -> Fault | None:
        """The fault to commit now that a request's header is read."""
        return self._fault(kind, self._headers, at_header=True)

    def fault_at_answer(self, kind: str) -> Fault | None:
        """The fault to commit now that an answer is due."""
        return self._fault(kind, self._answers, at_header=False)

    def _fault(self, kind: str, counter: Counter[str], *, at_header: bool) -> Fault | None:
        with self._lock:
            counter[kind] += 1
            for fault in self.behaviour.faults:
                if (fault.do is Do.CLOSE_AT_HEADER) is at_header and (
                    (fault.request, fault.nth) == (kind, counter[kind])
                ):
                    return fault
        return None
