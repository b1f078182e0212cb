"""`PeerClient`: a blocking client of protocol 3 for tests of a server."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import crypto, wire
from tests.peer.cksum import cksum
from tests.peer.generations import ANSWER_1608, GENERATIONS, VERSION
from tests.peer.style import Packets, Style

DEFAULT_TIMEOUT = 10.0
RESENDS = 3
"""How often a file is sent again for its checksum, and a message for a general error."""
LARGEST_RESPONSE = 1 << 16
"""No response of protocol 3 comes near; a larger size announced means the stream is lost."""

Response = tuple[int, int, bytes]
"""Version, code, payload."""

T = TypeVar("T")


class UnexpectedResponse(Exception):
    """The server answered something the protocol does not allow here."""

    def __init__(self, why: str, response: Response) -> None:
        super().__init__(f"{why}: version {response[0]}, code {response[1]}, {response[2].hex()}")
        self.response = response


class GeneralError(UnexpectedResponse):
    """The server answered the general error."""


class RegistrationFailed(UnexpectedResponse):
    """The server refused to register."""


class ReconnectRefused(UnexpectedResponse):
    """The server wants the client to register again."""


class Fatal(Exception):
    """`run` ended before its end: the same message met the general error 4 times."""


@dataclass(frozen=True)
class FileReceived:
    """The server's answer to a file."""

    content_size: int
    file_name: bytes
    checksum: int


@dataclass(frozen=True)
class RunResult:
    """What became of a run: `verified` is False after "giving up"."""

    verified: bool
    registered: bool
    times_sent: int


class PeerClient:
    """A client of one generation, doing as little or as much of a run as the test asks for.

    Every method that reads raises TimeoutError after `timeout` seconds of silence,
    `wire.ConnectionEnded` when the server closes, `GeneralError`, `RegistrationFailed` or
    `ReconnectRefused` when it answers so, and `UnexpectedResponse` for anything else that is not
    the protocol. What a client accepts although a server should not send it is collected in
    `violations`. `client_id`, `aes_key` and `private_key` may be set by the test.
    """

    def __init__(
        self,
        port: int,
        generation: str = "2023a",
        *,
        host: str = "127.0.0.1",
        name: str | bytes = "peer",
        style: Style | None = None,
        client_id: bytes | None = None,
        private_key: rsa.RSAPrivateKey | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.address = (host, port)
        self.generation = GENERATIONS[generation]
        self.name = _octets(name)
        self.style = style if style is not None else Style()
        self.client_id = client_id
        self.private_key = private_key
        self.aes_key: bytes | None = None
        self.timeout = timeout
        self.violations: list[str] = []
        self._socket: socket.socket | None = None
        self._strays_allowed = 0
        self._wrong_crc_left = self.style.wrong_crc

    def __enter__(self) -> Self:
        if self._socket is None:
            self.connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Raw access

    def connect(self) -> None:
        """Open the connection; `with PeerClient(...)` does it."""
        self._socket = socket.create_connection(self.address, self.timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection; may be called again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._strays_allowed = 0

    def abort(self) -> None:
        """Close so that the server sees a reset instead of an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    @property
    def sock(self) -> socket.socket:
        """The open socket."""
        if self._socket is None:
            raise RuntimeError("not connected")
        return self._socket

    def send_raw(self, data: bytes) -> None:
        """Write these bytes as they are, in the style's pieces."""
        wire.write_in_pieces(self.sock, data, self.style.piece_size)

    def read_response(self) -> Response:
        """Version, code and payload of the next response, not judged in any way but its size."""
        header = wire.read_exactly(self.sock, wire.RESPONSE_HEADER.size)
        version, code, size = wire.RESPONSE_HEADER.unpack(header)
        if size > LARGEST_RESPONSE:
            raise UnexpectedResponse(f"payload of {size} bytes announced", (version, code, b""))
        return version, code, wire.read_exactly(self.sock, size)

    # The bytes of the requests, for tests that change, cut, repeat or reorder them

    def request(
        self, code: int, payload: bytes, *, client_id: bytes | None = None, version: int = VERSION
    ) -> bytes:
        """A request with this client's id, or another's."""
        sender = self.known_id if client_id is None else client_id
        return wire.request(sender, code, payload, version)

    def name_request(self, code: int, name: str | bytes) -> bytes:
        """A request whose payload is a name alone: reconnect and the three CRC messages."""
        return self.request(code, self.style.name_field(_octets(name)))

    def register_request(self) -> bytes:
        """The registration; its id is one the server ignores."""
        payload = self.style.name_field(self.name)
        return wire.request(self.style.registration_id(), self.generation.register, payload)

    def public_key_request(self) -> bytes:
        """The public key, making the private one when there is none yet."""
        if self.private_key is None:
            self.private_key = crypto.make_key(self.style.public_key_bits)
        field = crypto.public_der(self.private_key).ljust(wire.PUBLIC_KEY_SIZE, b"\0")
        payload = self.style.name_field(self.name) + field
        return self.request(self.generation.public_key, payload)

    def file_requests(self, file_name: str | bytes, content: bytes) -> list[bytes]:
        """All requests of one file: one, or one for each packet."""
        if self.aes_key is None:
            raise RuntimeError("no AES key yet")
        payloads = self.style.file_payloads(
            self.generation, self.aes_key, _octets(file_name), content
        )
        return [self.request(self.generation.send_file, payload) for payload in payloads]

    # The steps of a run

    def register(self) -> bytes:
        """Register under the name; the new client id."""
        self.send_raw(self.register_request())
        return self._read_registered()

    def send_public_key(self) -> bytes:
        """Send the public key; the AES key."""
        self.send_raw(self.public_key_request())
        return self._read_aes_key(self.generation.aes_key)

    def reconnect(self) -> bytes:
        """Reconnect with the known id and private key; the new AES key."""
        self.send_raw(self.name_request(self.generation.reconnect, self.name))
        return self._read_aes_key(self.generation.reconnected)

    def send_file(self, file_name: str | bytes, content: bytes) -> FileReceived:
        """Send the file once; the server's answer, its checksum not compared."""
        requests = self.file_requests(file_name, content)
        self.send_raw(b"".join(requests))
        return self._read_file_received(requests, file_name)

    def crc_valid(self, file_name: str | bytes) -> None:
        """Tell that the checksum is right and read the answer."""
        self.send_raw(self.name_request(self.generation.crc_valid, file_name))
        self._read_message_received()

    def crc_invalid(self, file_name: str | bytes) -> None:
        """Tell that the file comes again. Not answered; an answer is skipped later."""
        self.send_raw(self.name_request(self.generation.crc_invalid, file_name))
        self._strays_allowed += 1

    def crc_abandoned(self, file_name: str | bytes) -> None:
        """Tell that the file is given up and read the answer."""
        self.send_raw(self.name_request(self.generation.crc_abandoned, file_name))
        self._read_message_received()

    # The whole run

    def run(self, file_name: str | bytes, content: bytes) -> RunResult:
        """Everything the specification's run does, on the open connection.

        A client that has an id (and private key) reconnects, another registers. Raises `Fatal`
        when a message met the general error 4 times, `RegistrationFailed` at once.
        """
        registered = self._introduce()
        own = cksum(content)
        for times_sent in range(1, RESENDS + 2):
            received = self._send_file_stubbornly(file_name, content)
            if not self._takes_for_different(own, received.checksum):
                self._say(self.generation.crc_valid, file_name, "CRC valid")
                return RunResult(verified=True, registered=registered, times_sent=times_sent)
            if times_sent <= RESENDS:
                self.crc_invalid(file_name)
        self._say(self.generation.crc_abandoned, file_name, "giving up")
        return RunResult(verified=False, registered=registered, times_sent=times_sent)

    def _introduce(self) -> bool:
        """Reconnect or register, so that there is an AES key; whether it registered."""
        if self.client_id is not None and self.private_key is not None:
            reconnect = self.name_request(self.generation.reconnect, self.name)
            try:
                self._stubbornly(
                    "reconnect", reconnect, lambda: self._read_aes_key(self.generation.reconnected)
                )
            except ReconnectRefused:
                self.client_id = self.private_key = None
            else:
                return False
        self._stubbornly("registration", self.register_request(), self._read_registered)
        self._stubbornly(
            "public key",
            self.public_key_request(),
            lambda: self._read_aes_key(self.generation.aes_key),
        )
        return True

    def _send_file_stubbornly(self, file_name: str | bytes, content: bytes) -> FileReceived:
        requests = self.file_requests(file_name, content)
        return self._stubbornly(
            "file", b"".join(requests), lambda: self._read_file_received(requests, file_name)
        )

    def _say(self, code: int, file_name: str | bytes, what: str) -> None:
        self._stubbornly(what, self.name_request(code, file_name), self._read_message_received)

    def _stubbornly(self, what: str, message: bytes, read: Callable[[], T]) -> T:
        """Send the same bytes again on a general error, at most 3 times."""
        for _ in range(RESENDS + 1):
            self.send_raw(message)
            try:
                return read()
            except GeneralError:
                continue
        raise Fatal(f"Fatal: {what} failed")

    def _takes_for_different(self, own: int, servers: int) -> bool:
        if self._wrong_crc_left:
            self._wrong_crc_left -= 1
            return True
        return own != servers

    # Reading answers

    def _read_registered(self) -> bytes:
        payload = self._expect(self.generation.registered, wire.ID_SIZE)
        self.client_id = payload
        return payload

    def _read_aes_key(self, code: int) -> bytes:
        """The encrypted key is the rest of the payload: as long as the modulus."""
        if self.private_key is None:
            raise RuntimeError("no private key to read the answer with")
        rest = (self.private_key.key_size + 7) // 8
        payload = self._expect(code, wire.ID_SIZE + rest)
        self._check_id(payload)
        key = crypto.unwrap(self.private_key, payload[wire.ID_SIZE :])
        if len(key) != self.generation.aes_key_size:
            self.violations.append(f"AES key of {len(key)} bytes")
        self.aes_key = key
        return key

    def _read_file_received(self, requests: list[bytes], file_name: str | bytes) -> FileReceived:
        payload = self._expect(self.generation.file_received, wire.FILE_RECEIVED.size)
        self._check_id(payload)
        _, size, field, checksum = wire.FILE_RECEIVED.unpack(payload)
        sizes = [struct.unpack_from("<I", r, wire.REQUEST_HEADER.size)[0] for r in requests]
        allowed = {sizes[0]}
        if self.generation.in_packets and self.style.packets is Packets.OWN_CIPHERTEXTS:
            # "As in the request" can then be the last packet's size or all of them together.
            allowed = {sizes[-1], sum(sizes)}
        if size not in allowed:
            self.violations.append(f"content size {size} in the answer, {sizes} in the request")
        name = wire.name_before_nul(field)
        if name != _octets(file_name):
            self.violations.append(f"file name {name!r} in the answer")
        if field != name.ljust(wire.NAME_SIZE, b"\0"):
            self.violations.append("file name in the answer not filled with zeros")
        return FileReceived(size, name, checksum)

    def _read_message_received(self) -> None:
        self._check_id(self._expect(self.generation.message_received, wire.ID_SIZE))

    def _check_id(self, payload: bytes) -> None:
        if payload[: wire.ID_SIZE] != self.client_id:
            self.violations.append(f"another client's id {payload[: wire.ID_SIZE].hex()}")

    def _expect(self, code: int, size: int) -> bytes:
        """The payload of the response that must come now, of this code and size."""
        response = self.read_response()
        while self._is_stray(response, code):
            self._strays_allowed -= 1
            self.violations.append(f"sending again answered with {response[1]}")
            response = self.read_response()
        if response[0] != VERSION:
            raise UnexpectedResponse("not version 3", response)
        if response[1] != code:
            self._raise_refusal(response)
        if len(response[2]) != size:
            raise UnexpectedResponse(f"payload is not of {size} bytes", response)
        self._strays_allowed = 0
        return response[2]

    def _is_stray(self, response: Response, expected: int) -> bool:
        """An answer to "CRC invalid, sending again": it can only come before that of the file."""
        return (
            self._strays_allowed > 0
            and expected == self.generation.file_received
            and response[1] in {self.generation.message_received, ANSWER_1608}
        )

    def _raise_refusal(self, response: Response) -> None:
        _, code, payload = response
        generation = self.generation
        if code in {generation.general_error, generation.registration_failed} and payload:
            self.violations.append(f"code {code} with a payload of {len(payload)} bytes")
        if code == generation.general_error:
            raise GeneralError("general error", response)
        if code == generation.registration_failed:
            raise RegistrationFailed("registration failed", response)
        if code == generation.reconnect_refused:
            if payload != self.known_id:
                self.violations.append("reconnect refused with another client's id")
            raise ReconnectRefused("reconnect refused", response)
        raise UnexpectedResponse("not an answer to this request", response)

    @property
    def known_id(self) -> bytes:
        """The client id, zeros before there is one."""
        return self.client_id if self.client_id is not None else bytes(wire.ID_SIZE)


def _octets(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name
