"""The fixed headers that open every message of protocols 3 and 4. Integers are little-endian."""

import struct
from typing import NamedTuple, Self

from protocol.errors import ProtocolError

CLIENT_ID_BYTES = 16
VERSION_3 = 3
VERSION_4 = 4
MAX_PAYLOAD_BYTES = 1_048_576 + 1_024
"""The largest payload of protocol 4: one segment and the fields around it."""

_REQUEST = struct.Struct(f"<{CLIENT_ID_BYTES}sBHI")
_RESPONSE = struct.Struct("<BHI")
_MESSAGE = struct.Struct("<BHII")
REQUEST_HEADER_BYTES = _REQUEST.size
RESPONSE_HEADER_BYTES = _RESPONSE.size
MESSAGE_HEADER_BYTES = _MESSAGE.size


class RequestHeader(NamedTuple):
    """Client id (16 bytes), version (1 byte), code (2 bytes), payload size in bytes (4 bytes)."""

    client_id: bytes
    code: int
    payload_size: int

    def pack(self) -> bytes:
        """The header's 23 bytes."""
        check_length("client id", self.client_id, CLIENT_ID_BYTES)
        return pack_fields(_REQUEST, self.client_id, VERSION_3, self.code, self.payload_size)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Reads exactly 23 bytes; raises `ProtocolError` on another length or version."""
        check_length("request header", data, REQUEST_HEADER_BYTES)
        client_id, version, code, payload_size = _REQUEST.unpack(data)
        _check_version(version, VERSION_3)
        return cls(client_id, code, payload_size)


class ResponseHeader(NamedTuple):
    """Version (1 byte), code (2 bytes), payload size in bytes (4 bytes)."""

    code: int
    payload_size: int

    def pack(self) -> bytes:
        """The header's 7 bytes."""
        return pack_fields(_RESPONSE, VERSION_3, self.code, self.payload_size)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Reads exactly 7 bytes; raises `ProtocolError` on another length or version."""
        check_length("response header", data, RESPONSE_HEADER_BYTES)
        version, code, payload_size = _RESPONSE.unpack(data)
        _check_version(version, VERSION_3)
        return cls(code, payload_size)


class MessageHeader(NamedTuple):
    """Protocol 4, both directions (section 2): version, code (2), request id (4), payload size (4).

    Whether the code may have a payload of this size is the decoder's to know.
    """

    code: int
    request_id: int
    payload_size: int

    def pack(self) -> bytes:
        """The header's 11 bytes; raises `ProtocolError` when a number does not fit its field."""
        return pack_fields(_MESSAGE, VERSION_4, self.code, self.request_id, self.payload_size)

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Self:
        """Reads exactly 11 bytes; raises `ProtocolError` on another length or version."""
        check_length("message header", data, MESSAGE_HEADER_BYTES)
        version, code, request_id, payload_size = _MESSAGE.unpack(data)
        _check_version(version, VERSION_4)
        return cls(code, request_id, payload_size)


def pack_fields(layout: struct.Struct, *values: bytes | int) -> bytes:
    """The values in their layout; raises `ProtocolError` when a number does not fit its field."""
    try:
        return layout.pack(*values)
    except struct.error as error:
        raise ProtocolError(f"a number does not fit its field: {error}") from error


def check_length(what: str, data: bytes | memoryview, expected: int) -> None:
    """Raises `ProtocolError` unless `data` is `expected` bytes long; `what` names it there."""
    if len(data) != expected:
        raise ProtocolError(f"{what} of {len(data)} bytes where {expected} are expected")


def _check_version(version: int, expected: int) -> None:
    if version != expected:
        raise ProtocolError(f"protocol version {version} where {expected} is expected")
