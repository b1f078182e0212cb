"""The published generations of protocol 3: all that differs between them, as one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from protocol.errors import ProtocolError
from protocol.header import CLIENT_ID_BYTES, RequestHeader, ResponseHeader
from protocol.messages3 import (
    ChecksumAbandoned,
    ChecksumInvalid,
    ChecksumValid,
    FileReceived,
    GeneralError,
    KeyAccepted,
    MessageReceived,
    Reconnect,
    Reconnected,
    ReconnectRefused,
    Register,
    Registered,
    RegistrationFailed,
    Request,
    ResendNoted,
    Response,
    SendFile,
    SendPacket,
    SendPublicKey,
)


@dataclass(frozen=True)
class Generation:
    """One generation: codes to message classes, AES key length in bytes, and default port."""

    name: str
    requests: Mapping[int, type[Request]]
    responses: Mapping[int, type[Response]]
    aes_key_bytes: int
    default_port: int

    @property
    def in_packets(self) -> bool:
        """Whether files travel as numbered packets rather than as one message."""
        return SendPacket in self.requests.values()

    def pack_request(self, client_id: bytes, request: Request, content_bytes: int = 0) -> bytes:
        """Header and fixed part of a request that `content_bytes` bytes of content will follow.

        Raises `ProtocolError` when a field does not fit or this generation has no such request.
        """
        payload = request.pack()
        code = _code_of(type(request), self.requests, self.name)
        return RequestHeader(client_id, code, len(payload) + content_bytes).pack() + payload

    def pack_response(self, response: Response) -> bytes:
        """A whole response. Raises `ProtocolError` when a field does not fit."""
        payload = response.pack()
        code = _code_of(type(response), self.responses, self.name)
        return ResponseHeader(code, len(payload)).pack() + payload


def _code_of(message: type, table: Mapping[int, type], generation: str) -> int:
    for code, candidate in table.items():
        if candidate is message:
            return code
    raise ProtocolError(f"generation {generation} has no {message.__name__} message")


_RESEND_NOTED = 1608


def _generation(
    name: str,
    first_request: int,
    first_checksum: int,
    first_response: int,
    send: type[SendFile | SendPacket],
    *,
    aes_key_bytes: int,
    port: int,
) -> Generation:
    requests: tuple[type[Request], ...] = (Register, SendPublicKey, Reconnect, send)
    verdicts: tuple[type[Request], ...] = (ChecksumValid, ChecksumInvalid, ChecksumAbandoned)
    responses: tuple[type[Response], ...] = (
        Registered,
        RegistrationFailed,
        KeyAccepted,
        FileReceived,
        MessageReceived,
        Reconnected,
        ReconnectRefused,
        GeneralError,
    )
    return Generation(
        name,
        MappingProxyType(
            dict(enumerate(requests, first_request)) | dict(enumerate(verdicts, first_checksum))
        ),
        MappingProxyType(dict(enumerate(responses, first_response)) | {_RESEND_NOTED: ResendNoted}),
        aes_key_bytes,
        port,
    )


# fmt: off
GENERATION_2023A = _generation("2023a", 1100, 1104, 2100, SendFile, aes_key_bytes=16, port=1234)
GENERATION_2023B = _generation("2023b", 1025, 1029, 2100, SendFile, aes_key_bytes=16, port=1357)
GENERATION_2024A = _generation("2024a", 1025, 1029, 1600, SendPacket, aes_key_bytes=32, port=1256)
GENERATION_2024C = _generation("2024c", 825, 900, 1600, SendPacket, aes_key_bytes=32, port=1256)
# fmt: on

GENERATIONS: Mapping[str, Generation] = MappingProxyType(
    {
        generation.name: generation
        for generation in (GENERATION_2023A, GENERATION_2023B, GENERATION_2024A, GENERATION_2024C)
    }
)


def generations_by_code(generation_1025: Generation) -> Mapping[int, Generation]:
    """Which generation each request code means to a server.

    2023b and 2024a share the codes 1025 to 1031; `generation_1025` is the one that answers them.
    """
    served = (GENERATION_2023A, GENERATION_2024C, generation_1025)
    return MappingProxyType(
        {code: generation for generation in served for code in generation.requests}
    )


NO_CLIENT_ID = bytes(CLIENT_ID_BYTES)
