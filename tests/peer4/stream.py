"""Messages of protocol 4 over a socket, whichever kind of connection it is."""

import contextlib
import socket
import struct
from abc import ABC, abstractmethod

from tests.peer4 import wire
from tests.peer4.wire import Message, RefusedError


class StreamCut(Exception):
    """The connection ended where a message, or a farewell, was due."""


def connected(host: str, port: int, source: str, timeout: float) -> socket.socket:
    """A TCP connection; `source` is the loopback address that an IPv4 one comes from."""
    made = socket.create_connection(
        (host, port), timeout, source_address=None if ":" in host else (source, 0)
    )
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def reset(connection: socket.socket) -> None:
    """Closes a connection so that the other side meets a reset, not an end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class MessageStream(ABC):
    """One connection of a client."""

    def __init__(self) -> None:
        self.sent = bytearray()
        """Every byte that was sent on this connection, or into TLS."""
        self._request_id = 0
        self._unread = bytearray()

    @property
    @abstractmethod
    def channel(self) -> socket.socket:
        """What it sends on; it must be open."""

    @abstractmethod
    def key_of(self, upload_id: bytes, salt: bytes, direction: bytes = wire.TO_SERVER) -> bytes:
        """The key of a content on this connection."""

    def transmit(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.sent += data
        self.channel.sendall(data)

    def send(self, code: int, payload: bytes = b"", request_id: int | None = None) -> int:
        """Sends a message and returns its request id."""
        if request_id is None:
            self._request_id += 1
            request_id = self._request_id
        self.transmit(wire.message(code, payload, request_id))
        return request_id

    def receive(self) -> Message:
        """The next response; raises `StreamCut` at the end of the stream."""
        version, code, request_id, size = wire.header(self._take(wire.HEADER_BYTES))
        assert version == 4
        assert size <= wire.MAX_PAYLOAD
        assert size <= wire.MAX_OTHER_PAYLOAD or code in (wire.CONTENT, wire.OUTCOMES)
        return Message(code, request_id, self._take(size))

    def expect(self, code: int, request_id: int | None = None) -> bytes:
        """The payload of the next response; raises `RefusedError` when it is a refusal."""
        response = self.receive()
        if request_id is not None:
            assert response.request_id == request_id
        if response.code == wire.REFUSED:
            raise RefusedError(response.payload)
        assert response.code == code
        return response.payload

    def segment(self, upload_id: bytes, index: int, sealed: bytes, *, final: bool) -> int:
        """Sends a sealed segment."""
        return self.send(wire.SEGMENT_CODE, upload_id + struct.pack("<QB", index, final) + sealed)

    def send_content(self, upload_id: bytes, salt: bytes, content: bytes, offset: int = 0) -> None:
        """Seals and sends everything from an offset on."""
        key = self.key_of(upload_id, salt)
        for index, final, plain in wire.pieces(content)[offset // wire.SEGMENT :]:
            sealed = wire.seal(key, upload_id, index, plain, final=final)
            self.segment(upload_id, index, sealed, final=final)

    def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            try:
                data = self.channel.recv(65536)
            except TimeoutError:
                raise
            except OSError as error:
                raise StreamCut(str(error)) from error
            if not data:
                raise StreamCut("a farewell")
            self._unread += data
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken
