"""A connection that is there when it is needed, and made again when it is lost."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from client.address import Address
from client.channel4 import Channel4
from client.datachannel import DataChannel
from client.errors import (
    BadInput,
    ConnectionFailed,
    FileFailed,
)
from client.identity4 import Identities, Identity4, public_key_der
from client.known_servers import KnownServers
from client.rate import RateLimit
from client.retrying import Backoff
from client.session4 import Access, Session4
from client.state import Places
from client.trust import AskUser, Trust
from protocol.contexts import SEGMENT_BYTES
from protocol.errors import UnsafeName
from protocol.names import check_client_name

T = TypeVar("T")

OnWaiting = Callable[[ConnectionFailed, float], None]
"""Called with the failure and the seconds until the next try."""


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """How to reach a server; see `client.api.Client`."""

    fingerprint: bytes | None
    ca_file: Path | None
    ask: AskUser | None
    timeout: float
    retries: int
    limit_rate: int | None
    on_waiting: OnWaiting | None = None


@dataclass(slots=True)
class Connection4:
    """A connection on which this client has proved who it is, with its data connection."""

    channel: Channel4
    session: Session4
    identity: Identity4
    access: Access
    fingerprint: bytes
    limit: RateLimit | None
    timeout: float
    may_attach: bool
    data: DataChannel | None = None

    def prepare(self, size: int | None) -> None:
        """Opens a data connection where content of this size, None when unknown, is worth it.

        Where there is none to be had, content travels on the connection that is there.
        """
        if self.data is not None:
            if not self.data.ended:
                return
            self._drop_data()
        if not self.may_attach or (size is not None and size < _WORTH_A_CONNECTION_BYTES):
            return
        ticket = self.session.attach()
        self.may_attach = False
        with contextlib.suppress(ConnectionFailed):
            self.data = DataChannel.open(self.channel.peer, ticket, self.timeout, self.limit)
            self.may_attach = True
        self.session.use_data(self.data)

    def close(self) -> None:
        """Ends both connections."""
        self._drop_data()
        self.channel.close()

    def _drop_data(self) -> None:
        self.session.use_data(None)
        if self.data is not None:
            self.data.close()
            self.data = None


_WORTH_A_CONNECTION_BYTES = 4 * SEGMENT_BYTES
"""Below, setting up a data connection takes longer than it saves."""
_MOST_DATA_FAILURES = 2
"""After so many lost data connections content goes through TLS."""


class Link:
    """One client's connection to the server at `address`."""

    def __init__(self, address: Address, places: Places, options: LinkOptions) -> None:
        self.address = address
        self.identities = Identities(places.identities)
        self.known = KnownServers(places.known_servers)
        self.trust = Trust(
            address, self.known, options.timeout, options.fingerprint, options.ca_file, options.ask
        )
        self._options = options
        self._limit = RateLimit(options.limit_rate) if options.limit_rate else None
        self._current: Connection4 | None = None
        self._in_use = False
        self._data_failures = 0

    def register(self, name: str, token: str) -> bytes:
        """Makes a key, registers it, and stores the identity; the client id.

        When the connection is lost it is tried again with the same key, here and by the next call:
        the server tells who it has registered by name and key.
        """
        _check_client_name(name)
        with self.identities.locked():
            return self._register(name, token)

    @contextmanager
    def use(self) -> Iterator[Connection4]:
        """The connection, made if there is none.

        What is raised within, other than `FileFailed`, ends it: a request may be half way.
        """
        if self._in_use:
            raise RuntimeError("another transfer on this client has not ended yet")
        self._in_use = True
        try:
            yield self._connected()
        except FileFailed:
            raise
        except BaseException as error:
            if isinstance(error, ConnectionFailed) and self._current and self._current.data:
                self._data_failures += 1
            self.close()
            raise
        finally:
            self._in_use = False

    def retrying(self, work: Callable[[], T], backoff: Backoff | None = None) -> T:
        """What `work` returns, done again on a new connection after a `ConnectionFailed`."""
        backoff = backoff or self.backoff()
        while True:
            try:
                return work()
            except ConnectionFailed as error:
                backoff.failed(error)

    def backoff(self) -> Backoff:
        """For one piece of work."""
        return Backoff(self._options.retries, self._announce, sleep=_sleep)

    def _announce(self, error: ConnectionFailed, seconds: float, _number: int) -> None:
        if self._options.on_waiting is not None:
            self._options.on_waiting(error, seconds)

    def close(self) -> None:
        """Ends the connection, if there is one; the next use makes another."""
        if self._current is not None:
            self._current.close()
            self._current = None

    def _connected(self) -> Connection4:
        if self._current is None:
            # Before connecting: who is not registered need not decide whether to trust.
            identity = self.identities.load(self.address)
            channel, fingerprint = self._open()
            try:
                session = Session4(channel)
                access = session.connect(identity, fingerprint)
                self.known.add_receipt_key(self.address, access.signer.receipt_key)
            except BaseException:
                channel.close()
                raise
            self._current = Connection4(
                channel,
                session,
                identity,
                access,
                fingerprint,
                self._limit,
                self._options.timeout,
                # Somebody on the way may take data connections and then not let them go on.
                may_attach=self._data_failures < _MOST_DATA_FAILURES,
            )
        return self._current

    def _register(self, name: str, token: str) -> bytes:
        key = self.identities.begin(self.address)
        public_key = public_key_der(key)

        def attempt() -> bytes:
            channel, _ = self._open()
            try:
                return Session4(channel).register(name, token, public_key)
            finally:
                channel.close()

        client_id = self.retrying(attempt)
        self.identities.complete(self.address, Identity4(name, client_id, key))
        return client_id

    def _open(self) -> tuple[Channel4, bytes]:
        server = self.trust.connect()
        return Channel4(server.tls, self._options.timeout, self._limit), server.fingerprint


def _check_client_name(name: str) -> None:
    try:
        check_client_name(name)
    except UnsafeName as error:
        raise BadInput("name", str(error), "choose another one") from error


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
