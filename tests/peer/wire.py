"""Headers, name fields and exact reading, shared by both ends of the test peer."""

import socket
import struct

REQUEST_HEADER = struct.Struct("<16sBHI")
RESPONSE_HEADER = struct.Struct("<BHI")
FILE_HEADER = struct.Struct("<I255s")
"""Content size and file name: what precedes the content in one message."""
PACKET_HEADER = struct.Struct("<IIHH255s")
"""Content size, original size, packet number, total packets, file name."""
FILE_RECEIVED = struct.Struct("<16sI255sI")

ID_SIZE = 16
NAME_SIZE = 255
PUBLIC_KEY_SIZE = 160
ENCRYPTED_KEY_SIZE = 128

assert REQUEST_HEADER.size == 23
assert RESPONSE_HEADER.size == 7


class ConnectionEnded(EOFError):
    """The other side closed the connection; `received` bytes of the wanted piece had come."""

    def __init__(self, received: int, wanted: int) -> None:
        super().__init__(f"connection ended after {received} of {wanted} bytes")
        self.received = received


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """`size` bytes, or `ConnectionEnded`, or TimeoutError by the socket's own timeout."""
    parts = bytearray()
    while len(parts) < size:
        part = sock.recv(min(size - len(parts), 1 << 16))
        if not part:
            raise ConnectionEnded(len(parts), size)
        parts += part
    return bytes(parts)


def write_in_pieces(sock: socket.socket, data: bytes, piece: int | None) -> None:
    """Write all of it, in one go or in pieces of `piece` bytes.

    The caller has set TCP_NODELAY, so that pieces are not put together again on this side.
    """
    if piece is None:
        sock.sendall(data)
        return
    for start in range(0, len(data), piece):
        sock.sendall(data[start : start + piece])


def request(client_id: bytes, code: int, payload: bytes, version: int = 3) -> bytes:
    """A whole request."""
    return REQUEST_HEADER.pack(client_id, version, code, len(payload)) + payload


def response(code: int, payload: bytes = b"", version: int = 3) -> bytes:
    """A whole response."""
    return RESPONSE_HEADER.pack(version, code, len(payload)) + payload


def name_before_nul(field: bytes) -> bytes:
    """The name in a fixed field: up to the first NUL, or all of it without one."""
    return field.partition(b"\0")[0]
