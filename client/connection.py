"""A TCP connection as the byte channel of a session."""

import contextlib
import ipaddress
import socket
from types import TracebackType
from typing import Self

from client.address import Address
from client.errors import ConnectionLost, CouldNotConnect, NoSuchHost, ServerSilent

_RECEIVE_BYTES = 1 << 16


class Connection:
    """A connected socket. Connecting and every send and receive wait `timeout` seconds at most.

    A context manager, which closes it.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    @classmethod
    def open(cls, address: Address, timeout: float) -> Self:
        """Connects to the first of the host's addresses that accepts.

        Raises `NoSuchHost` when there is none, `CouldNotConnect` when none accepts.
        """
        return cls(connect_socket(address, timeout))

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, so that nobody on the way can read or alter."""
        try:
            host = self._socket.getpeername()[0]
        except OSError:
            return True  # the connection has ended already: there is nothing to read or alter
        address = ipaddress.ip_address(host)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return (mapped or address).is_loopback

    def send(self, data: bytes | memoryview) -> None:
        """Sends all of `data`; raises `ConnectionLost`.

        The timeout starts anew with every byte taken: a slow network is not a silent server.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._socket.send(rest) :]
        except TimeoutError as error:
            raise ServerSilent("the server has stopped reading") from error
        except OSError as error:
            raise _lost(error) from error

    def receive(self) -> bytes:
        """What has arrived, at least one byte; none at the end. Raises `ConnectionLost`."""
        try:
            return self._socket.recv(_RECEIVE_BYTES)
        except TimeoutError as error:
            raise ServerSilent(
                f"the server has not answered in {self._socket.gettimeout():g} s"
            ) from error
        except OSError as error:
            raise _lost(error) from error

    def close(self) -> None:
        """Ends the connection; may be called again."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def connect_socket(address: Address, timeout: float) -> socket.socket:
    """A TCP connection to the first of the host's addresses that accepts.

    Raises `NoSuchHost` when there is none, `CouldNotConnect` when none accepts.
    """
    try:
        return connect_to(address, timeout)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            raise CouldNotConnect(f"{address.host!r} cannot be looked up now") from error
        raise NoSuchHost(f"{address.host!r} has no address: {error.strerror}") from error
    except TimeoutError as error:
        raise CouldNotConnect(f"{address} did not answer in {timeout:g} s") from error
    except OSError as error:
        raise CouldNotConnect(
            f"cannot connect to {address}: {error.strerror or error}; is the server running?"
        ) from error


def connect_to(address: Address, timeout: float) -> socket.socket:
    """The same with the errors of `socket.create_connection`."""
    target = (address.resolvable, address.port)
    connected = socket.create_connection(target, timeout)  # type: ignore[arg-type] # getaddrinfo's
    with contextlib.suppress(OSError):  # already reset by the server: the first send tells
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _lost(error: OSError) -> ConnectionLost:
    return ConnectionLost(f"the connection was lost: {error.strerror or error}")
