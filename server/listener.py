"""The listening socket: a thread for each connection, limits, deadlines and the drain."""

import errno
import logging
import math
import resource
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocol.channel import TLS_HANDSHAKE
from server.config import Config
from server.connection import Connection, Doors, Session
from server.errors import ConfigurationError

_log = logging.getLogger(__name__)

# Each connection may hold its socket, a staged file and a directory that is being synced; the rest
# is for the database, the log and the listening socket.
_DESCRIPTORS_PER_CONNECTION = 3
_DESCRIPTORS_KEPT = 128
# Turned out, and not ended yet; each holds no more than its socket.
_MOST_LEAVING = 64
# A whole first message of TLS, as clients that offer post-quantum keys send it.
_CLIENT_HELLO_BYTES = 4096
# A fatal alert of TLS, internal_error, in clear as all are before the keys (RFC 8446, 5.1 and 6).
_NO_PLACE = bytes((21, 3, 3, 0, 2, 2, 80))
_DRAIN_POLL_SECONDS = 0.05
_ACCEPTING_SECONDS = 10.0


@dataclass(slots=True)
class _Place:
    """What an admitted connection takes up; it has a session once its thread has started."""

    address: str
    socket: socket.socket
    session: Session | None = None
    leaving: bool = False


class Listener(socketserver.ThreadingTCPServer):
    """Accepts connections until `drain`; every connection has a thread of its own."""

    allow_reuse_address = True
    request_queue_size = 1024
    daemon_threads = True
    # The registry below replaces the base class's list of threads, which grows with every accept.
    block_on_close = False

    def __init__(self, config: Config, doors: Doors) -> None:
        """Binds and listens. Raises `ConfigurationError` when the address cannot be used."""
        self.config = config
        self.doors = doors
        self.draining = False
        self.refused: Counter[str] = Counter()
        """How many connections were refused, by the limit that they were beyond; `unproven` were
        turned out for others."""
        self._accepted_at = -math.inf
        self._registry_lock = threading.Lock()
        self._places: dict[socket.socket, _Place] = {}
        # The oldest first. One that has proved itself since is dropped when its turn comes.
        self._unproven: dict[socket.socket, _Place] = {}
        self._leaving = 0
        self._per_address: Counter[str] = Counter()
        self.max_connections = min(config.max_connections, _affordable_connections())
        """Connections at once, which may be fewer than the settings allow."""
        if self.max_connections < config.max_connections:
            _log.warning(
                "only %d connections at once: raise the limit of open files (ulimit -n) for %d",
                self.max_connections,
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

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._places)

    @property
    def accepting(self) -> bool:
        """Whether the accepting loop has come round lately."""
        return time.monotonic() < self._accepted_at + _ACCEPTING_SECONDS

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401 - as in the base
        """Admits the connection if the limits allow one more, or another can make room."""
        address = client_address[0]
        with self._registry_lock:
            # First: who has too many already does not cost others theirs.
            crowded = self._per_address[address] >= self.config.max_connections_per_address
            if not crowded and (self._has_room() or self._turn_out()):
                self._places[request] = self._unproven[request] = _Place(address, request)
                self._per_address[address] += 1
                return True
            self.refused["address" if crowded else "all"] += 1
        self._tell_refused(request)
        _log.warning(
            "connection from %s refused: %s", address,
            "too many from this address" if crowded else "too many connections",
        )  # fmt: skip
        return False

    def _tell_refused(self, request: socket.socket) -> None:
        """Answers a client of TLS that has begun, and never waits for one.

        Where protocol 3 is served nothing is said to one that has not begun: to its clients these
        seven bytes are the header of a response of 1.3 GB.
        """
        try:
            # Read, because closing on unread bytes would reset the connection, alert and all.
            begun = request.recv(_CLIENT_HELLO_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            begun = b"" if self.config.serves_protocol_3 else bytes((TLS_HANDSHAKE,))
        except OSError:
            return
        if begun[:1] == bytes((TLS_HANDSHAKE,)):
            try:
                request.send(_NO_PLACE, socket.MSG_DONTWAIT)
            except OSError as error:
                _log.debug("connection had ended already: %s", error.strerror)

    def _has_room(self) -> bool:
        return len(self._places) - self._leaving < self.max_connections

    def _turn_out(self) -> bool:
        """Ends the oldest connection that nobody has proved himself on; whether there was one."""
        if self._leaving >= _MOST_LEAVING:
            return False
        while self._unproven:
            oldest = next(iter(self._unproven))
            place = self._unproven.pop(oldest)
            if place.session is None or not place.session.introduced:
                place.leaving = True
                self._leaving += 1
                self.refused["unproven"] += 1
                _log.info("connection from %s turned out: unproven, all taken", place.address)
                _shut_down(place.socket, socket.SHUT_RDWR)
                return True
        return False

    def attach(
        self, request: socket.socket, current: socket.socket, session: Session | None
    ) -> None:
        """Lets the drain see what a connection is doing, and on which socket since TLS began."""
        with self._registry_lock:
            place = self._places[request]
            place.socket, place.session = current, session
            if place.leaving:
                _shut_down(current, socket.SHUT_RDWR)

    def keep(self, request: socket.socket) -> None:
        """Has a connection count as proven before it has a session."""
        with self._registry_lock:
            self._unproven.pop(request, None)

    def close_request(self, request: Any) -> None:  # noqa: ANN401 - as in the base
        """Closes a connection, admitted or not, and gives its place back."""
        with self._registry_lock:
            self._unproven.pop(request, None)
            place = self._places.pop(request, None)
            if place is not None:
                self._leaving -= place.leaving
                self._per_address[place.address] -= 1
                if not self._per_address[place.address]:
                    del self._per_address[place.address]
        super().close_request(request)

    def service_actions(self) -> None:
        """Called by the accepting loop about twice a second."""
        self._accepted_at = time.monotonic()
        try:
            self.doors.services3.key_table.expire()
            self.doors.services4.bans.expire()
            self.doors.services4.rates.expire()
            self.doors.services4.tickets.expire()
        except Exception:  # noqa: BLE001 - whatever it is, accepting must go on
            _log.exception("what is over could not be forgotten")

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
        deadline = time.monotonic() + self.config.grace_seconds
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
            places = list(self._places.values())
        for place in places:
            if not only_idle or place.session is None or not place.session.busy:
                _shut_down(place.socket, socket.SHUT_RD if only_idle else socket.SHUT_RDWR)
        return len(places)


def _shut_down(connected: socket.socket, how: int) -> None:
    try:
        # Not SSLSocket's own: that one forgets TLS, and would go on in clear.
        socket.socket.shutdown(connected, how)
    except OSError as error:  # the peer or its thread was faster
        _log.debug("connection had ended already: %s", error.strerror)


def _affordable_connections() -> int:
    """How many connections the limit of open files allows, raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return 1_000_000
    return max((hard - _DESCRIPTORS_KEPT) // _DESCRIPTORS_PER_CONNECTION, 1)
