"""A data connection (section 1.2 of docs/protocol-4.md): sealed content beside the TLS connection.

Nothing that it carries is trusted: segments are verified by who opens them.
"""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TypeVar

from client.address import Address
from client.connection import connect_to
from client.errors import ConnectionLost, ServerSilent
from client.rate import RateLimit
from protocol.channel import DATA_PREFACE
from protocol.decoder4 import FrameDecoder
from protocol.errors import ProtocolError
from protocol.fields import Buffer
from protocol.messages4 import DATA_RESPONSES, Content, Done

R = TypeVar("R", Content, Done)

_PATIENCE_SECONDS = 10.0
"""For the server's word that a ticket is good: who only lets TLS pass may never answer."""


class DataChannel:
    """Segments out, content in. Sending and receiving wait for the socket's timeout at most."""

    def __init__(self, connected: socket.socket, limit: RateLimit | None = None) -> None:
        self._socket = connected
        self._limit = limit
        self._decoder: FrameDecoder[Content | Done] = FrameDecoder(DATA_RESPONSES)
        self._decoding: Iterator[tuple[int, Content | Done]] = iter(())

    @classmethod
    def open(
        cls, peer: tuple[str, int], ticket: bytes, timeout: float, limit: RateLimit | None = None
    ) -> "DataChannel":
        """Connects to the server's own address and shows the ticket.

        Raises `ConnectionLost` where this is not to be had.
        """
        with ExitStack() as unless_open:
            try:
                connected = unless_open.enter_context(
                    connect_to(Address(*peer), min(timeout, _PATIENCE_SECONDS))
                )
                channel = cls(connected, limit)
                channel.send(DATA_PREFACE + ticket)
                channel.receive(Done)
                connected.settimeout(timeout)
            except OSError as error:
                raise _lost(error) from error
            unless_open.pop_all()
            return channel

    @property
    def ended(self) -> bool:
        """Whether the server has ended it, as it does when it refuses a segment."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def send(self, *parts: Buffer) -> None:
        """Sends all parts, which may be reused afterwards; raises `ConnectionLost`."""
        # One call for a header and its segment, which would otherwise be two packets.
        rest = [memoryview(part) for part in parts]
        try:
            while rest:
                sent = self._socket.sendmsg(self._allowed(rest))
                if self._limit:
                    self._limit.spend(sent)
                while rest and sent >= len(rest[0]):
                    sent -= len(rest.pop(0))
                if rest:
                    rest[0] = rest[0][sent:]
        except OSError as error:
            raise _lost(error) from error

    def receive(self, kind: type[R]) -> R:
        """The next message, of this kind; sealed content in it is valid until the next call.

        Raises `ConnectionLost`, also when the server ends the connection or what comes is none.
        """
        while True:
            try:
                message = next(self._decoding, None)
            except ProtocolError as error:
                # Not necessarily the server's fault: nothing but the content is protected here.
                raise ConnectionLost(f"the data connection was disturbed: {error}") from error
            if message is not None:
                if not isinstance(message[1], kind):
                    raise ConnectionLost("the data connection was disturbed")
                return message[1]
            self._decoding = self._decoder.written(self._read())

    def close(self) -> None:
        """Ends the connection; may be called again."""
        self._socket.close()

    def _allowed(self, parts: list[memoryview]) -> list[memoryview]:
        return [parts[0][: self._limit.burst_bytes]] if self._limit else parts

    def _read(self) -> int:
        buffer = self._decoder.writable()
        try:
            size = self._socket.recv_into(
                buffer[: self._limit.burst_bytes] if self._limit else buffer
            )
        except OSError as error:
            raise _lost(error) from error
        if not size:
            raise ConnectionLost("the server closed the data connection")
        if self._limit:
            self._limit.spend(size)
        return size


def _lost(error: OSError) -> ConnectionLost:
    if isinstance(error, TimeoutError):
        return ServerSilent("the server has neither taken nor sent any content for too long")
    return ConnectionLost(f"the data connection was lost: {error.strerror or error}")
