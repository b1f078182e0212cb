"""`PeerServer`: a threaded server of protocol 3 for tests of a client."""

import contextlib
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer.behaviour import Behaviour
from tests.peer.conversation import Conversation
from tests.peer.generations import GENERATIONS, REQUEST_KINDS
from tests.peer.shared import Client, Seen, Shared

DEFAULT_TIMEOUT = 10.0


class PeerServer:
    """A server of one generation on 127.0.0.1, on a port of the system's choice.

    Use it as a context manager. It keeps nothing but in memory, and names may be registered
    more than once. After the client is done, call `settle()` before looking at `violations`
    (what came that the specification does not say, one sentence each), `files` (client name and
    file name to content, only what the client called valid) and `log` (the requests in the order
    they came, each packet of a file one of them).
    """

    def __init__(
        self,
        generation: str = "2023a",
        behaviour: Behaviour | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        behaviour = behaviour if behaviour is not None else Behaviour()
        kinds = {*behaviour.general_errors, *(fault.request for fault in behaviour.faults)}
        if unknown := kinds.difference(REQUEST_KINDS):
            raise ValueError(f"no such kind of request: {unknown}")
        self.generation = GENERATIONS[generation]
        self.timeout = timeout
        self._shared = Shared(self.generation, behaviour)
        self._close_on_accept = behaviour.close_on_accept
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = "127.0.0.1"
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="peer acceptor")
        self._acceptor.start()

    @property
    def files(self) -> dict[tuple[str, str], bytes]:
        """What was received and called valid: (client name, file name) to content."""
        return self._shared.files

    @property
    def log(self) -> list[Seen]:
        """The requests seen."""
        return self._shared.log

    @property
    def kinds(self) -> list[str]:
        """The kinds of the requests seen, the packets of a file each one."""
        return [seen.kind for seen in self._shared.log]

    @property
    def violations(self) -> list[str]:
        """What the client did against the specification."""
        return self._shared.violations

    @property
    def clients(self) -> dict[bytes, Client]:
        """The clients known, by id."""
        return self._shared.clients

    def add_client(
        self, name: str, public_key: rsa.RSAPublicKey, client_id: bytes | None = None
    ) -> bytes:
        """Know a client as if it had registered earlier; its id."""
        client = Client(
            name, client_id if client_id is not None else uuid.uuid4().bytes, public_key
        )
        return self._shared.add_client(client).client_id

    def settle(self, timeout: float | None = None) -> None:
        """Wait until every connection so far has ended; TimeoutError when one does not."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise TimeoutError("a client still keeps its connection")

    def close(self) -> None:
        """End every connection and thread; may be called again."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the acceptor
        self._acceptor.join(self.timeout)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self.settle()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        number = 0
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            if self._close_on_accept:
                sock.close()
                continue
            thread = threading.Thread(
                target=self._serve, args=(sock, number), name=f"peer connection {number}"
            )
            with self._lock:
                self._open.add(sock)
                self._threads.append(thread)
                # Started under the lock: settle() must not meet a thread it cannot join yet.
                thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        with sock:
            sock.settimeout(self.timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                Conversation(sock, number, self._shared).serve()
            finally:
                with self._lock:
                    self._open.discard(sock)
