"""The listening socket: a thread for each connection, limits, deadlines and the drain."""

import errno
import logging
import resource
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server.config import Config
from server.content3 import RECEIVE_BYTES
from server.errors import ConfigurationError
from server.session3 import Services, Session3

_log = logging.getLogger(__name__)

_HEAD_BYTES = 4096
# Each connection may hold its socket, a staged file and a directory that is being synced; the rest
# is for the database, the log and the listening socket.
_DESCRIPTORS_PER_CONNECTION = 3
_DESCRIPTORS_KEPT = 128
_DRAIN_POLL_SECONDS = 0.05
_FAREWELL_SECONDS = 2.0


@dataclass(slots=True)
class _Place:
    """What an admitted connection takes up; it has a session once its thread has started."""

    address: str
    session: Session3 | None = None


class Connection(socketserver.BaseRequestHandler):
    """One client's connection: moves bytes between its socket and its session, within deadlines."""

    server: "Listener"
    request: socket.socket

    def setup(self) -> None:
        self.session = Session3(self.server.services, self.client_address[0])
        self.server.attach(self.request, self)

    def handle(self) -> None:
        try:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._serve(self.server.services.config)
            if self.session.ended:
                self._let_the_answer_arrive()
        except TimeoutError:
            self._log_end("timed out")
        except OSError as error:
            self._log_end(error.strerror or str(error))

    def _serve(self, config: Config) -> None:
        head, content = bytearray(_HEAD_BYTES), None
        request_began, received = 0.0, 0
        while not self.session.ended and not (self.server.draining and not self.session.busy):
            if self.session.between_requests:
                request_began, received = 0.0, 0
            elif not request_began:
                request_began = time.monotonic()
            # Large buffers only while content is kept: idle connections stay cheap.
            if self.session.content_wanted <= _HEAD_BYTES:
                content = None
            elif content is None:
                content = bytearray(min(RECEIVE_BYTES, self.session.content_wanted))
            buffer = memoryview(head if content is None else content)
            self.request.settimeout(self._patience(config, request_began, received))
            size = self.request.recv_into(buffer)
            if not size:
                return
            received += size
            for response in self.session.receive(buffer[:size]):
                self.request.settimeout(config.read_seconds)
                self.request.sendall(response)

    def finish(self) -> None:
        self.session.close()

    def _let_the_answer_arrive(self) -> None:
        """Reads on a little: closing on unread bytes resets the connection, and a reset may
        overtake the answer that says why."""
        self.request.shutdown(socket.SHUT_WR)
        self.request.settimeout(_FAREWELL_SECONDS)
        passed_over = memoryview(bytearray(16 * _HEAD_BYTES))
        until = time.monotonic() + _FAREWELL_SECONDS
        while self.request.recv_into(passed_over) and time.monotonic() < until:
            pass

    def _patience(self, config: Config, request_began: float, received: int) -> float:
        """Seconds that the next bytes may take, `received` bytes after a request began."""
        if not request_began:
            return config.idle_seconds
        if not config.min_rate:
            return config.read_seconds
        # By what has come, not by what was announced: an announcement costs its sender nothing, and
        # packets that follow on each other without a gap are timed as one.
        allowance = config.request_seconds + received / config.min_rate
        left = request_began + allowance - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return min(config.read_seconds, left)

    def _log_end(self, cause: str) -> None:
        level = logging.WARNING if self.session.busy else logging.DEBUG
        _log.log(level, "connection from %s ended: %s", self.client_address[0], cause)


class Listener(socketserver.ThreadingTCPServer):
    """Accepts connections until `drain`; every connection has a thread of its own."""

    allow_reuse_address = True
    request_queue_size = 128
    daemon_threads = True
    # The registry below replaces the base class's list of threads, which grows with every accept.
    block_on_close = False

    def __init__(self, services: Services) -> None:
        """Binds and listens. Raises `ConfigurationError` when the address cannot be used."""
        config = services.config
        self.services = services
        self.draining = False
        self._registry_lock = threading.Lock()
        self._places: dict[socket.socket, _Place] = {}
        self._per_address: Counter[str] = Counter()
        self._max_connections = min(config.max_connections, _affordable_connections())
        if self._max_connections < config.max_connections:
            _log.warning(
                "only %d connections at once: raise the limit of open files (ulimit -n) for %d",
                self._max_connections,
                config.max_connections,
            )
        try:
            found = socket.getaddrinfo(
                config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            self.address_family, _, _, _, address = found[0]
            super().__init__(address, Connection)  # type: ignore[arg-type] # IPv6 addresses have 4 parts
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {config.host} port {config.port}: {error.strerror}"
            ) from error

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self.socket.getsockname()[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401 - as in the base
        """Admits the connection if the limits allow one more."""
        limit = self.services.config.max_connections_per_address
        with self._registry_lock:
            full = len(self._places) >= self._max_connections
            crowded = self._per_address[client_address[0]] >= limit
            if not full and not crowded:
                self._places[request] = _Place(client_address[0])
                self._per_address[client_address[0]] += 1
                return True
        _log.warning(
            "connection from %s refused: %s", client_address[0],
            "too many connections" if full else "too many from this address",
        )  # fmt: skip
        return False

    def attach(self, request: socket.socket, connection: Connection) -> None:
        """Lets the drain see what a connection is doing."""
        with self._registry_lock:
            self._places[request].session = connection.session

    def close_request(self, request: Any) -> None:  # noqa: ANN401 - as in the base
        """Closes a connection, admitted or not, and gives its place back."""
        with self._registry_lock:
            place = self._places.pop(request, None)
            if place is not None:
                self._per_address[place.address] -= 1
                if not self._per_address[place.address]:
                    del self._per_address[place.address]
        super().close_request(request)

    def service_actions(self) -> None:
        """Called by the accepting loop about twice a second."""
        try:
            self.services.key_table.expire()
        except Exception:  # noqa: BLE001 - whatever it is, accepting must go on
            _log.exception("keys that are over could not be discarded")

    def get_request(self) -> tuple[Any, Any]:
        """Accepts; where descriptors have run out, waits a little rather than spin."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                time.sleep(0.1)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - as in the base
        """Logs what no session expected; the connection is closed and the server goes on."""
        _log.exception("connection from %s failed", client_address[0])

    def drain(self, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Stops accepting, lets running transfers finish for the grace time, then closes the rest.

        Call it while another thread runs `serve_forever`. The grace time is over once
        `hurry` says so. Returns whether all finished in time.
        """
        self.draining = True
        self.shutdown()
        self.server_close()
        deadline = time.monotonic() + self.services.config.grace_seconds
        while self._interrupt(only_idle=True) and time.monotonic() < deadline:
            if hurry():
                break
            time.sleep(_DRAIN_POLL_SECONDS)
        unfinished = self._interrupt(only_idle=False)
        deadline = time.monotonic() + 1.0
        while self._interrupt(only_idle=False) and time.monotonic() < deadline:
            time.sleep(_DRAIN_POLL_SECONDS)
        return not unfinished

    def _interrupt(self, *, only_idle: bool) -> int:
        """Ends the reading of connections, all or those that are idle; how many are left."""
        with self._registry_lock:
            places = list(self._places.items())
        for request, place in places:
            if not only_idle or place.session is None or not place.session.busy:
                try:
                    request.shutdown(socket.SHUT_RD if only_idle else socket.SHUT_RDWR)
                except OSError as error:  # the peer or its thread was faster
                    _log.debug("connection had ended already: %s", error.strerror)
        return len(places)


def _affordable_connections() -> int:
    """How many connections the limit of open files allows, raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return 1_000_000
    return max((hard - _DESCRIPTORS_KEPT) // _DESCRIPTORS_PER_CONNECTION, 1)
