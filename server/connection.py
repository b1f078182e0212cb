"""One client's connection: finds out which protocol it speaks, then moves bytes between its socket
and its session, within deadlines."""

import contextlib
import logging
import select
import socket
import socketserver
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from protocol.channel import ALPN, DATA_PREFACE, TLS_HANDSHAKE
from protocol.contexts import TICKET_BYTES
from server.certificate import Certificate
from server.datasession import DataSession
from server.openuploads import DataLink
from server.session3 import Services, Session3
from server.session4 import Services4, Session4

if TYPE_CHECKING:
    from server.listener import Listener

_log = logging.getLogger(__name__)

_FAREWELL_SECONDS = 2.0
_FAREWELL_BYTES = 65536
# How long to look at the disk alone, and then at the client again.
_GLANCE_SECONDS = 0.001


class Session(Protocol):
    """What the sessions of both protocols have in common."""

    ended: bool

    @property
    def between_requests(self) -> bool: ...
    @property
    def busy(self) -> bool: ...
    @property
    def introduced(self) -> bool: ...
    @property
    def has_deferred(self) -> bool: ...
    def is_awaited(self, seconds: float) -> bool: ...
    def writable(self) -> memoryview: ...
    def written(self, size: int) -> Iterator[bytes | memoryview]: ...
    def deferred(self, patience: float | None = None) -> Iterator[bytes | memoryview]: ...
    def farewell(self) -> Iterator[bytes | memoryview]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Doors:
    """What a server serves: protocol 3 where it is allowed, protocol 4 under its certificate."""

    services3: Services
    services4: Services4
    certificate: Certificate


class Connection(socketserver.BaseRequestHandler):
    """Serves one connection in a thread of its own."""

    server: "Listener"
    request: socket.socket

    def handle(self) -> None:
        self._config = self.server.config
        self._socket = self.request
        self._connected = time.monotonic()
        self._has_to_prove = False
        # Through TLS it is still this descriptor; select() cannot look at those beyond 1023.
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        with ExitStack() as self._stack:
            self._handle()

    def _handle(self) -> None:
        session: Session | None = None
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # A control connection says nothing while its data connection works.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            session = self._open_session()
            if session is not None:
                self.server.attach(self.request, self._socket, session)
                self._serve(session)
        except TimeoutError:
            self._log_end(session, "timed out")
        except OSError as error:
            self._log_end(session, error.strerror or str(error))
        finally:
            try:
                if session is not None:
                    session.close()
            finally:
                self._hang_up()

    def _open_session(self) -> Session | None:
        address = self.client_address[0]
        self._socket.settimeout(self._config.idle_seconds)
        first = self._socket.recv(1, socket.MSG_PEEK)
        if not first:
            return None
        if first[0] == TLS_HANDSHAKE:
            return self._open_tls(address)
        protocol_3 = self._config.serves_protocol_3
        if not protocol_3 and first[0] != DATA_PREFACE[0]:
            _log.warning("connection from %s refused: protocol 3 is not allowed here", address)
            return None
        beginning = self._receive_exactly(len(DATA_PREFACE))
        if beginning == DATA_PREFACE:
            return self._open_data(address)
        if not protocol_3 or not beginning:
            return None
        session = Session3(self.server.doors.services3, address)
        self._send(session.receive(memoryview(beginning)))
        return session

    def _open_data(self, address: str) -> Session | None:
        tickets = self.server.doors.services4.tickets
        uploads = tickets.redeem(self._receive_exactly(TICKET_BYTES))
        if uploads is None:
            _log.warning("data connection from %s refused: no good ticket", address)
            return None
        self.server.keep(self.request)
        # A socket of its own for the control connection's thread: it has another timeout.
        sending = self._stack.enter_context(self._socket.dup())
        sending.settimeout(self._config.read_seconds)

        def send(parts: Iterable[bytes | memoryview]) -> None:
            for part in parts:
                rest = memoryview(part)
                while rest:  # the timeout of sendall would be for all of it
                    rest = rest[sending.send(rest) :]

        def end(how: int) -> None:
            with contextlib.suppress(OSError):  # it has ended already
                sending.shutdown(how)

        link = DataLink(send, partial(end, socket.SHUT_RD), partial(end, socket.SHUT_RDWR))
        return DataSession(uploads, link, address)

    def _open_tls(self, address: str) -> Session | None:
        context, fingerprint = self.server.doors.certificate.current
        # In this thread and within a deadline: in accept one slow handshake would stop everybody.
        tls = context.wrap_socket(
            self._socket,
            server_side=True,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,  # else a cut-off connection looks like a clean end
        )
        self._socket = tls
        self.server.attach(self.request, tls, None)
        tls.settimeout(self._config.handshake_seconds)
        tls.do_handshake()
        if tls.selected_alpn_protocol() != ALPN:
            _log.warning("connection from %s refused: it does not ask for %s", address, ALPN)
            return None
        self._has_to_prove = True
        return Session4(self.server.doors.services4, address, fingerprint)

    def _receive_exactly(self, size: int) -> bytes:
        """So many bytes of one that has not said yet what it is; fewer when it ends before."""
        received = b""
        while len(received) < size:
            left = self._connected + self._config.handshake_seconds - time.monotonic()
            self._socket.settimeout(_left(left))
            data = self._socket.recv(size - len(received))
            if not data:
                break
            received += data
        return received

    def _serve(self, session: Session) -> None:
        began, received = 0.0, 0
        while not session.ended and not (self.server.draining and not session.busy):
            if session.has_deferred and not self._more_at_hand():
                self._send(session.deferred(_GLANCE_SECONDS))
                continue
            if session.between_requests:
                began, received = 0.0, 0
            elif not began:
                began = time.monotonic()
            view = session.writable()
            patience = self._patience(session, began, received)
            if session.between_requests and not self._goes_on(session, patience):
                continue
            # A drain ends our reading, which TLS would take, and tell the client, for an attack.
            if self.server.draining and not session.busy:
                break
            self._socket.settimeout(patience)
            size = self._socket.recv_into(view)
            if not size:
                self._send(session.deferred())
                return
            received += size
            self._send(session.written(size))
        if not session.ended:
            self._send(session.farewell())

    def _goes_on(self, session: Session, patience: float) -> bool:
        """Whether a request has begun; False when it is to be waited for once more."""
        if self._more_at_hand(patience):
            return True
        if not session.is_awaited(patience):
            raise TimeoutError
        return False

    def _send(self, responses: Iterable[bytes | memoryview]) -> None:
        for response in responses:
            self._socket.settimeout(self._config.read_seconds)
            self._socket.sendall(response)

    def _more_at_hand(self, seconds: float = 0.0) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._poll.poll(seconds * 1000))

    def _patience(self, session: Session, began: float, received: int) -> float:
        """Seconds that the next bytes may take, `received` bytes after a request began."""
        config = self._config
        now = time.monotonic()
        if self._has_to_prove and not session.introduced:
            return _left(self._connected + config.handshake_seconds - now)
        if not began:
            return config.idle_seconds
        if not config.min_rate:
            return config.read_seconds
        # By what has come, not by what was announced: an announcement costs its sender nothing, and
        # packets that follow on each other without a gap are timed as one.
        allowance = config.request_seconds + received / config.min_rate
        return min(config.read_seconds, _left(began + allowance - now))

    def _hang_up(self) -> None:
        try:
            self._socket.settimeout(_FAREWELL_SECONDS)
            self._say_farewell()
            self._let_the_answer_arrive()
        except (OSError, ValueError) as error:  # many peers are gone by now
            _log.debug("no farewell from %s: %s", self.client_address[0], error)
        finally:
            self._socket.close()

    def _say_farewell(self) -> None:
        """Tells a TLS peer that the end is meant; one that is still sending does not answer it."""
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket = self._socket.unwrap()
            except (OSError, ValueError) as error:
                _log.debug("no TLS farewell from %s: %s", self.client_address[0], error)

    def _let_the_answer_arrive(self) -> None:
        """Reads on a little: closing on unread bytes resets the connection, and a reset may
        overtake the answer that says why."""
        self._socket.shutdown(socket.SHUT_WR)
        passed_over = memoryview(bytearray(_FAREWELL_BYTES))
        until = time.monotonic() + _FAREWELL_SECONDS
        while self._socket.recv_into(passed_over) and time.monotonic() < until:
            pass

    def _log_end(self, session: Session | None, cause: str) -> None:
        busy = session is not None and session.busy
        level = logging.WARNING if busy else logging.DEBUG
        _log.log(level, "connection from %s ended: %s", self.client_address[0], cause)


def _left(seconds: float) -> float:
    if seconds <= 0:
        raise TimeoutError
    return seconds
