"""The requests and responses of protocol 3: frozen dataclasses beside their byte layouts.

A message packs and unpacks the fixed part of its payload. It knows no code numbers: those differ
between generations and stand in `protocol.generations`. File content follows the fixed part of
`SendFile` and `SendPacket` and is not part of the message. Integers are little-endian.
"""

import struct
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from protocol.errors import ProtocolError
from protocol.header import CLIENT_ID_BYTES, check_length, pack_fields
from protocol.names import NAME_BYTES, pack_name, unpack_name

PUBLIC_KEY_BYTES = 160
MAX_WRAPPED_KEY_BYTES = 1024
MAX_IGNORED_BYTES = 1024


def _fields(layout: struct.Struct, payload: bytes) -> tuple[Any, ...]:
    check_length("payload", payload, layout.size)
    return layout.unpack(payload)


@dataclass(frozen=True, slots=True)
class _NameOnly:
    name: str

    SIZE: ClassVar[int] = NAME_BYTES

    def pack(self) -> bytes:
        return pack_name(self.name)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        return cls(unpack_name(payload))


class Register(_NameOnly):
    """A client asks to be registered under `name`."""

    __slots__ = ()


class Reconnect(_NameOnly):
    """A registered client asks for a new AES key under its stored public key."""

    __slots__ = ()


class ChecksumValid(_NameOnly):
    """The checksum of the file `name` matched: the file may be kept."""

    __slots__ = ()


class ChecksumInvalid(_NameOnly):
    """The checksum of the file `name` did not match: it is about to be sent again."""

    __slots__ = ()


class ChecksumAbandoned(_NameOnly):
    """The checksum of the file `name` did not match for the fourth time: the client gave up."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SendPublicKey:
    """The client's RSA public key: DER SubjectPublicKeyInfo, filled with zeros to 160 bytes."""

    name: str
    public_key: bytes

    LAYOUT: ClassVar[struct.Struct] = struct.Struct(f"<{NAME_BYTES}s{PUBLIC_KEY_BYTES}s")
    SIZE: ClassVar[int] = LAYOUT.size

    def pack(self) -> bytes:
        if len(self.public_key) > PUBLIC_KEY_BYTES:
            raise ProtocolError(
                f"a public key of {len(self.public_key)} bytes does not fit {PUBLIC_KEY_BYTES}"
            )
        return self.LAYOUT.pack(pack_name(self.name), self.public_key)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        name, public_key = _fields(cls.LAYOUT, payload)
        return cls(unpack_name(name), public_key)


@dataclass(frozen=True, slots=True)
class SendFile:
    """A whole file in one message; `content_size` bytes of ciphertext follow."""

    content_size: int
    name: str

    LAYOUT: ClassVar[struct.Struct] = struct.Struct(f"<I{NAME_BYTES}s")
    SIZE: ClassVar[int] = LAYOUT.size

    def pack(self) -> bytes:
        return pack_fields(self.LAYOUT, self.content_size, pack_name(self.name))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        content_size, name = _fields(cls.LAYOUT, payload)
        return cls(content_size, unpack_name(name))


@dataclass(frozen=True, slots=True)
class SendPacket:
    """One packet of a file; this packet's ciphertext follows.

    `content_size` is the size of the file's whole ciphertext, `original_size` of the plain file,
    both in bytes; `packet` counts from 1 to `total_packets`.
    """

    content_size: int
    original_size: int
    packet: int
    total_packets: int
    name: str

    LAYOUT: ClassVar[struct.Struct] = struct.Struct(f"<IIHH{NAME_BYTES}s")
    SIZE: ClassVar[int] = LAYOUT.size

    def pack(self) -> bytes:
        return pack_fields(
            self.LAYOUT,
            self.content_size,
            self.original_size,
            self.packet,
            self.total_packets,
            pack_name(self.name),
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        content_size, original_size, packet, total_packets, name = _fields(cls.LAYOUT, payload)
        return cls(content_size, original_size, packet, total_packets, unpack_name(name))


Request = (
    Register
    | SendPublicKey
    | Reconnect
    | SendFile
    | SendPacket
    | ChecksumValid
    | ChecksumInvalid
    | ChecksumAbandoned
)


@dataclass(frozen=True, slots=True)
class _ClientIdOnly:
    client_id: bytes

    MIN_SIZE: ClassVar[int] = CLIENT_ID_BYTES
    MAX_SIZE: ClassVar[int] = CLIENT_ID_BYTES

    def pack(self) -> bytes:
        check_length("client id", self.client_id, CLIENT_ID_BYTES)
        return self.client_id

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        check_length("client id", payload, CLIENT_ID_BYTES)
        return cls(payload)


class Registered(_ClientIdOnly):
    """The client is registered under this 16-byte id."""

    __slots__ = ()


class MessageReceived(_ClientIdOnly):
    """The server has taken note; after `ChecksumValid`: the file is verified and durable."""

    __slots__ = ()


class ReconnectRefused(_ClientIdOnly):
    """The id and name are not those of a registered client: register again."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _NoFields:
    # Some servers send a client id, or more, where the specification has no payload.
    MIN_SIZE: ClassVar[int] = 0
    MAX_SIZE: ClassVar[int] = MAX_IGNORED_BYTES

    def pack(self) -> bytes:
        return b""

    @classmethod
    def unpack(cls, _payload: bytes) -> Self:
        return cls()


class RegistrationFailed(_NoFields):
    """The client was not registered, mostly because its name is taken."""

    __slots__ = ()


class GeneralError(_NoFields):
    """The request failed; the answer does not say why."""

    __slots__ = ()


class ResendNoted(_NoFields):
    """Sent by some servers in answer to `ChecksumInvalid`, which has no answer: to be skipped."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _KeyMessage:
    client_id: bytes
    wrapped_key: bytes

    MIN_SIZE: ClassVar[int] = CLIENT_ID_BYTES + 1
    MAX_SIZE: ClassVar[int] = CLIENT_ID_BYTES + MAX_WRAPPED_KEY_BYTES

    def pack(self) -> bytes:
        check_length("client id", self.client_id, CLIENT_ID_BYTES)
        return self.client_id + self.wrapped_key

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        if len(payload) < cls.MIN_SIZE:
            raise ProtocolError(f"a key message of {len(payload)} bytes holds no key")
        return cls(payload[:CLIENT_ID_BYTES], payload[CLIENT_ID_BYTES:])


class KeyAccepted(_KeyMessage):
    """The public key was stored; `wrapped_key` is the AES key under it (RSA-OAEP, SHA-1)."""

    __slots__ = ()


class Reconnected(_KeyMessage):
    """The client is known; `wrapped_key` is a new AES key under its stored public key."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class FileReceived:
    """The whole file has arrived: its size as announced and the checksum of the plain content."""

    client_id: bytes
    content_size: int
    name: str
    checksum: int

    LAYOUT: ClassVar[struct.Struct] = struct.Struct(f"<{CLIENT_ID_BYTES}sI{NAME_BYTES}sI")
    MIN_SIZE: ClassVar[int] = LAYOUT.size
    MAX_SIZE: ClassVar[int] = LAYOUT.size

    def pack(self) -> bytes:
        check_length("client id", self.client_id, CLIENT_ID_BYTES)
        return pack_fields(
            self.LAYOUT, self.client_id, self.content_size, pack_name(self.name), self.checksum
        )

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        client_id, content_size, name, checksum = _fields(cls.LAYOUT, payload)
        return cls(client_id, content_size, unpack_name(name), checksum)


Response = (
    Registered
    | RegistrationFailed
    | KeyAccepted
    | FileReceived
    | MessageReceived
    | Reconnected
    | ReconnectRefused
    | GeneralError
    | ResendNoted
)
