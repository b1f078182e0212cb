"""One connection of a `PeerServer`: reads requests, judges them, answers."""

import os
import socket
import uuid
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import checks, crypto, wire
from tests.peer.behaviour import Do, Fault, SendingAgain
from tests.peer.checks import Unusable
from tests.peer.cksum import cksum
from tests.peer.generations import ANSWER_1608, VERSION
from tests.peer.shared import Client, Seen, Shared

LARGEST_REQUEST = 1 << 28
RESENDS = 3


class _Close(Exception):
    """This connection is to be closed."""


class _FileState:
    """How far the exchange about one file has come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.content = b""
        self.times_sent = 0
        self.sent_wrong_checksum = False
        self.verdict_due = False


class Conversation:
    """Serves one connection until it ends; `shared` belongs to the server."""

    def __init__(self, sock: socket.socket, number: int, shared: Shared) -> None:
        self.sock = sock
        self.number = number
        self.shared = shared
        self.behaviour = shared.behaviour
        self.generation = shared.generation
        self.client: Client | None = None
        self.aes_key: bytes | None = None
        self.assembly = checks.Assembly()
        self.file: _FileState | None = None
        self.resend_due = False
        self._message: list[bytes] = []
        """The payloads of the message being served: of a file all its packets."""
        self._refused: tuple[str, list[bytes]] | None = None
        self._times_refused = 0
        self._fault: Fault | None = None

    def serve(self) -> None:
        """Until the client ends the connection, or an option says to."""
        try:
            while self._one_request():
                pass
        except _Close:
            return
        except TimeoutError:
            self._report("nothing came for the whole timeout")
        except OSError:
            return  # a reset, or the test closed the server
        if self.assembly.packets:
            self._report("connection ended between the packets of a file")
        elif self.resend_due:
            self._report("connection ended although the file was to be sent again")

    def _report(self, violation: str) -> None:
        self.shared.report(f"connection {self.number}: {violation}")

    # Reading

    def _one_request(self) -> bool:
        """Serve one request; False when the client has ended the connection."""
        try:
            header = wire.read_exactly(self.sock, wire.REQUEST_HEADER.size)
        except wire.ConnectionEnded as end:
            if end.received:
                self._report(f"connection ended {end.received} bytes into a header")
            return False
        client_id, version, code, size = wire.REQUEST_HEADER.unpack(header)
        kind = self.generation.requests.get(code)
        if kind is None or version != VERSION or size > LARGEST_REQUEST:
            self._report(f"header with version {version}, code {code}, size {size}")
            self._write(wire.response(self.generation.general_error))
            raise _Close
        self._strike_at_header(kind)
        try:
            payload = wire.read_exactly(self.sock, size)
        except wire.ConnectionEnded as end:
            self._report(f"{kind}: connection ended {end.received} bytes into a payload of {size}")
            raise _Close from end
        self.shared.see(Seen(self.number, kind, code, client_id, payload))
        self._serve(kind, client_id, payload)
        return True

    def _serve(self, kind: str, client_id: bytes, payload: bytes) -> None:
        self._fault = None
        if kind != "send_file" and self.assembly.packets:
            self._report(f"{kind} between the packets of a file")
            self.assembly = checks.Assembly()
        if kind == "send_file" and self.assembly.packets:
            self._message.append(payload)
        else:
            self._message = [payload]
        handlers: dict[str, Callable[[bytes, bytes], bytes | None]] = {
            "register": self._register,
            "public_key": self._public_key,
            "reconnect": self._reconnect,
            "send_file": self._send_file,
            "crc_valid": self._crc_valid,
            "crc_invalid": self._crc_invalid,
            "crc_abandoned": self._crc_abandoned,
        }
        try:
            self._check_sender(kind, client_id)
            answer = handlers[kind](client_id, payload)
        except Unusable as error:
            self._report(f"{kind}: {error}")
            self.assembly = checks.Assembly()
            answer = self._refuse(kind, client_id)
        # Even without an answer there may be a fault to commit.
        self._answer(answer if answer is not None else b"")

    def _check_sender(self, kind: str, client_id: bytes) -> None:
        """Every request but these two needs a known client and its own id."""
        if kind in {"register", "reconnect"}:
            return
        if self.client is None:
            raise Unusable("neither registered nor reconnected on this connection")
        if client_id != self.client.client_id:
            raise Unusable("another client's id")

    def _due(self, kind: str, client_id: bytes) -> bytes | None:
        """A message has come whole: judge repetition, and None or the general error to answer."""
        if self._refused is not None and self._refused != (kind, self._message):
            self._report(f"{kind}: not the message that met the general error")
        elif self._refused is not None and self._times_refused > RESENDS:
            self._report(f"{kind}: sent again more than {RESENDS} times after the general error")
        if self.resend_due and kind != "send_file":
            self._report(f"{kind} although the file was to be sent again")
        self._fault = self.shared.fault_at_answer(kind)
        if self._fault is not None and self._fault.do is Do.CLOSE_INSTEAD:
            raise _Close
        if self.shared.take_general_error(kind):
            return self._refuse(kind, client_id)
        self._refused, self._times_refused = None, 0
        return None

    def _refuse(self, kind: str, client_id: bytes) -> bytes:
        if self._refused != (kind, self._message):
            self._times_refused = 0
        self._refused = (kind, self._message)
        self._times_refused += 1
        payload = client_id if self.behaviour.refusals_with_id else b""
        return wire.response(self.generation.general_error, payload)

    # Answering

    def _write(self, data: bytes) -> None:
        wire.write_in_pieces(self.sock, data, self.behaviour.answer_piece)

    def _strike_at_header(self, kind: str) -> None:
        if self.shared.fault_at_header(kind) is not None:
            raise _Close

    def _answer(self, answer: bytes) -> None:
        fault = self._fault
        if fault is None:
            self._write(answer)
        elif fault.do is Do.GARBAGE:
            self._write(fault.data)
        elif fault.do is Do.CLOSE_HALFWAY:
            self._write(answer[: len(answer) // 2])
            raise _Close
        elif fault.do is Do.CLOSE_AFTER:
            self._write(answer)
            raise _Close

    # The requests: each returns its answer, or None when there is none

    def _register(self, client_id: bytes, payload: bytes) -> bytes:
        name = checks.read_name_payload(payload, self._report)
        if error := self._due("register", client_id):
            return error
        if self.client is not None:
            self._report("registered twice on one connection")
        if self.behaviour.refuse_registration:
            body = client_id if self.behaviour.refusals_with_id else b""
            return wire.response(self.generation.registration_failed, body)
        self.client = self.shared.add_client(Client(name, uuid.uuid4().bytes, None))
        return wire.response(self.generation.registered, self.client.client_id)

    def _public_key(self, client_id: bytes, payload: bytes) -> bytes:
        name, key = checks.read_public_key(payload, self._report)
        assert self.client is not None
        if name != self.client.name:
            self._report(f"public key of {name!r} on the connection of {self.client.name!r}")
        if error := self._due("public_key", client_id):
            return error
        if self.client.public_key is not None:
            self._report("public key sent although there is one")
        self.client = self.shared.add_client(Client(self.client.name, client_id, key))
        return self._aes_key_answer(self.generation.aes_key, client_id, key)

    def _reconnect(self, client_id: bytes, payload: bytes) -> bytes:
        name = checks.read_name_payload(payload, self._report)
        if error := self._due("reconnect", client_id):
            return error
        if self.client is not None:
            self._report("reconnected although already known on this connection")
        client = self.shared.client(client_id)
        if client is not None and client.name != name:
            self._report(f"reconnect of {client.name!r} under the name {name!r}")
            client = None
        if client is None or client.public_key is None or self.behaviour.refuse_reconnects:
            return wire.response(self.generation.reconnect_refused, client_id)
        self.client = client
        return self._aes_key_answer(self.generation.reconnected, client_id, client.public_key)

    def _aes_key_answer(self, code: int, client_id: bytes, key: rsa.RSAPublicKey) -> bytes:
        aes_key = os.urandom(self.generation.aes_key_size)
        try:
            encrypted = crypto.wrap(key, aes_key)
        except ValueError as error:
            raise Unusable(f"no AES key fits under this public key: {error}") from error
        self.aes_key = aes_key
        return wire.response(code, client_id + encrypted)

    def _send_file(self, client_id: bytes, payload: bytes) -> bytes | None:
        in_packets = self.generation.in_packets
        if self.aes_key is None:
            raise Unusable("no AES key exchanged")
        packet = checks.read_packet(payload, in_packets, self._report)
        if not self.assembly.add(packet):
            return None
        packets, self.assembly = self.assembly.packets, checks.Assembly()
        if error := self._due("send_file", client_id):
            return error
        plain = checks.decrypt_file(packets, self.aes_key, in_packets, self._report)
        state = self._file_sent(packet.file_name, plain)
        checksum = cksum(plain)
        state.sent_wrong_checksum = self.shared.take_wrong_checksum()
        if state.sent_wrong_checksum:
            checksum ^= 0xFFFFFFFF
        field = packet.file_name.encode().ljust(wire.NAME_SIZE, b"\0")
        body = wire.FILE_RECEIVED.pack(client_id, packet.content_size, field, checksum)
        return wire.response(self.generation.file_received, body)

    def _file_sent(self, name: str, plain: bytes) -> _FileState:
        if self.file is not None and self.file.verdict_due:
            self._report("file sent before the verdict on the last one")
        if self.resend_due:
            if self.file is None or (self.file.name, self.file.content) != (name, plain):
                self._report("another file than the one to be sent again")
        else:
            self.file = None
        self.resend_due = False
        if self.file is None or self.file.name != name:
            self.file = _FileState(name)
        self.file.content = plain
        self.file.times_sent += 1
        self.file.verdict_due = True
        return self.file

    def _verdict(self, payload: bytes) -> _FileState:
        name = checks.read_name_payload(payload, self._report)
        if self.file is None or not self.file.verdict_due or self.file.name != name:
            raise Unusable(f"no file {name!r} waits for this")
        return self.file

    def _crc_valid(self, client_id: bytes, payload: bytes) -> bytes:
        state = self._verdict(payload)
        if error := self._due("crc_valid", client_id):
            return error
        if state.sent_wrong_checksum:
            self._report("CRC valid although the checksum sent was wrong")
        assert self.client is not None
        self.shared.keep(self.client.name, state.name, state.content)
        self.file = None
        return wire.response(self.generation.message_received, client_id)

    def _crc_invalid(self, client_id: bytes, payload: bytes) -> bytes | None:
        state = self._verdict(payload)
        if error := self._due("crc_invalid", client_id):
            return error
        if not state.sent_wrong_checksum:
            self._report("CRC invalid although the checksum sent was right")
        if state.times_sent > RESENDS:
            self._report(f"sending again although sent {state.times_sent} times")
        state.verdict_due = False
        self.resend_due = True
        answers = {
            SendingAgain.NOTHING: None,
            SendingAgain.MESSAGE_RECEIVED: wire.response(
                self.generation.message_received, client_id
            ),
            SendingAgain.CODE_1608: wire.response(ANSWER_1608),
            SendingAgain.CODE_1608_WITH_ID: wire.response(ANSWER_1608, client_id),
        }
        return answers[self.behaviour.sending_again]

    def _crc_abandoned(self, client_id: bytes, payload: bytes) -> bytes:
        state = self._verdict(payload)
        if error := self._due("crc_abandoned", client_id):
            return error
        if not state.sent_wrong_checksum:
            self._report("giving up although the checksum sent was right")
        if state.times_sent != RESENDS + 1:
            self._report(f"giving up after {state.times_sent} times")
        self.file = None
        return wire.response(self.generation.message_received, client_id)
