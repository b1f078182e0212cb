"""`Peer4`: a client of protocol 4 that can also misbehave; independent of the product's code."""

import hashlib
import hmac
import os
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import cache
from types import TracebackType
from typing import Self

from Crypto.Cipher import oaep
from Crypto.Hash import SHA256
from Crypto.PublicKey import RSA

from tests.peer4 import wire
from tests.peer4.data import DataConnection
from tests.peer4.stream import MessageStream, StreamCut, connected, reset
from tests.peer4.wire import ALWAYS, Entry, Message, Receipt, RefusedError, text

__all__ = ["MODIFIED", "Peer4", "StreamCut", "client_key", "public_der", "tls_context"]

MODIFIED = 1_700_000_000_123_456_789


@cache
def client_key(_number: int = 0) -> RSA.RsaKey:
    """A key pair of 3072 bits, the same one for the same number: making one takes a while."""
    return RSA.generate(3072)


def public_der(key: RSA.RsaKey) -> bytes:
    """SubjectPublicKeyInfo."""
    return key.public_key().export_key("DER")


def tls_context(alpn: Sequence[str] = ("eft/4",)) -> ssl.SSLContext:
    """Settings of a client that looks at the certificate itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Peer4(MessageStream):
    """One client; `open` connects it, and may be called again after `close` or `cut`."""

    def __init__(
        self,
        port: int,
        name: str = "alice",
        *,
        key: RSA.RsaKey | None = None,
        client_id: bytes | None = None,
        host: str = "127.0.0.1",
        source: str = "127.0.0.1",
        timeout: float = 20.0,
    ) -> None:
        """`source` is the loopback address that an IPv4 connection comes from."""
        super().__init__()
        self.host = host
        self.port = port
        self.name = name
        self.key = client_key() if key is None else key
        self.client_id = client_id
        self.source = source
        self.timeout = timeout
        self.fingerprint = b""
        self.secret = b""
        self.receipt_key = b""
        self._tls: ssl.SSLSocket | None = None
        self._puts: deque[Sequence[wire.Small]] = deque()

    def __enter__(self) -> Self:
        return self.open() if self._tls is None else self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def tls(self) -> ssl.SSLSocket:
        assert self._tls is not None
        return self._tls

    @property
    def channel(self) -> ssl.SSLSocket:
        return self.tls

    # Connection

    def open(self, alpn: Sequence[str] = ("eft/4",)) -> Self:
        """Connects, up to and with the TLS handshake."""
        plain = connected(self.host, self.port, self.source, self.timeout)
        try:
            self._tls = tls_context(alpn).wrap_socket(plain, suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise
        certificate = self._tls.getpeercert(binary_form=True)
        assert certificate is not None
        self.fingerprint = hashlib.sha256(certificate).digest()
        self._unread.clear()
        self._puts.clear()
        self.sent.clear()
        self._request_id = 0
        return self

    def close(self) -> None:
        """Ends the connection properly; harmless when it has ended."""
        if self._tls is not None:
            try:
                self._tls.settimeout(1.0)
                self._tls.unwrap()
            except (OSError, ValueError):
                pass
            self._tls.close()
            self._tls = None

    def cut(self) -> None:
        """Ends the TCP stream without TLS's farewell, as a broken network or an attacker would."""
        if self._tls is not None:
            reset(self._tls)
            self._tls = None

    # Messages

    def ask(self, code: int, payload: bytes, answer: int) -> bytes:
        """Sends a request and returns the payload of its answer."""
        return self.expect(answer, self.send(code, payload))

    def refusal(self) -> int:
        """The reason in the next response, which is a refusal."""
        response = self.receive()
        assert response.code == wire.REFUSED, response
        return int(RefusedError(response.payload).reason)

    def at_end(self, *, stopping: bool = False) -> bool:
        """Whether the server has said a proper farewell and nothing else; with `stopping`, after
        the message that it is being stopped."""
        try:
            if stopping:
                assert self.refusal() == wire.SHUTTING_DOWN
            return not self._unread and not self.tls.recv(1)
        except ssl.SSLEOFError:
            return False

    # Identity

    def register(self, token: str = "", public_key: bytes | None = None) -> bytes:
        """Registers and returns the client id."""
        der = public_der(self.key) if public_key is None else public_key
        blob = struct.pack("<H", len(der)) + der
        payload = text(self.name) + text(token) + blob
        self.client_id = self.ask(wire.REGISTER, payload, wire.REGISTERED)
        assert len(self.client_id) == 16
        return self.client_id

    @property
    def context(self) -> bytes:
        assert self.client_id is not None
        return b"eft/4 connect\0" + self.fingerprint + self.client_id

    def challenge(self) -> bytes:
        """Asks for a challenge."""
        assert self.client_id is not None
        payload = self.ask(wire.CONNECT, self.client_id, wire.CHALLENGE)
        assert len(payload) == 386
        return payload[2:]

    def proof(self, challenge: bytes) -> bytes:
        """Opens a challenge; raises `ValueError` when it was not made for this key and server."""
        self.secret = oaep.new(self.key, hashmod=SHA256, label=self.context).decrypt(challenge)
        return hmac.digest(self.secret, self.context, "sha256")

    def prove(self, proof: bytes) -> tuple[int, str]:
        """Sends a proof; the server's time and this client's name as the server knows it."""
        payload = self.ask(wire.PROVE, proof, wire.CONNECTED)
        self.receipt_key = payload[:32]
        now, size = struct.unpack_from("<QH", payload, 32)
        assert len(payload) == 42 + size
        return now, payload[42:].decode()

    def connect(self) -> Self:
        """Both steps of connecting."""
        assert self.prove(self.proof(self.challenge()))[1] == self.name
        return self

    def introduce(self) -> Self:
        """Registers if need be, and connects."""
        if self.client_id is None:
            self.register()
        return self.connect()

    def again(self) -> "Peer4":
        """A new, open and proven connection of the same client."""
        peer = self.twin().open()
        return peer.connect()

    def twin(self) -> "Peer4":
        """The same client on a connection of its own, not open yet."""
        return Peer4(
            self.port, self.name, key=self.key, client_id=self.client_id, host=self.host,
            source=self.source, timeout=self.timeout,
        )  # fmt: skip

    # Data connection

    def ticket(self) -> bytes:
        """A ticket for a data connection."""
        ticket = self.ask(wire.ATTACH, b"", wire.TICKET)
        assert len(ticket) == 32
        return ticket

    def dial(self, port: int | None = None) -> DataConnection:
        """A data connection on which nothing was sent; `port` may lead there through a tap."""
        plain = connected(self.host, port or self.port, self.source, self.timeout)
        return DataConnection(plain, self.key_of)

    def attach(self) -> DataConnection:
        """A data connection that the server has accepted."""
        connection = self.dial()
        try:
            return connection.open(self.ticket()).accepted()
        except BaseException:
            connection.close()
            raise

    # Uploads

    def key_of(self, upload_id: bytes, salt: bytes, direction: bytes = wire.TO_SERVER) -> bytes:
        assert self.client_id is not None
        return wire.content_key(self.secret, salt, direction, self.client_id, upload_id)

    def begin(
        self,
        upload_id: bytes,
        salt: bytes,
        name: str | bytes,
        size: int | None,
        *,
        modified: int = MODIFIED,
        mode: int = 0o640,
        policy: int = ALWAYS,
    ) -> int | Receipt:
        """Begins; the offset to go on at, or the receipt of what was completed before."""
        self.send_begin(upload_id, salt, name, size, modified=modified, mode=mode, policy=policy)
        response = self.receive()
        if response.code == wire.STORED:
            return wire.read_receipt(response.payload, self.receipt_key)
        if response.code == wire.REFUSED:
            raise RefusedError(response.payload)
        assert response.code == wire.BEGUN
        (offset,) = struct.unpack("<Q", response.payload)
        assert offset % wire.SEGMENT == 0
        return int(offset)

    def send_begin(
        self,
        upload_id: bytes,
        salt: bytes,
        name: str | bytes,
        size: int | None,
        *,
        modified: int = MODIFIED,
        mode: int = 0o640,
        policy: int = ALWAYS,
    ) -> int:
        """Sends *begin* only."""
        announced = wire.UNKNOWN_SIZE if size is None else size
        numbers = struct.pack("<QqHB", announced, modified, mode, policy)
        return self.send(wire.BEGIN, upload_id + salt + numbers + text(name))

    def send_end(self, upload_id: bytes, size: int, sha256: bytes) -> int:
        """Sends *end* only."""
        return self.send(wire.END, upload_id + struct.pack("<Q", size) + sha256)

    def end(self, upload_id: bytes, size: int, sha256: bytes) -> Receipt:
        """Ends an upload; what its segments were refused for is said again, and passed over."""
        request_id = self.send_end(upload_id, size, sha256)
        while (response := self.receive()).request_id != request_id:
            assert response.code == wire.REFUSED
        if response.code == wire.REFUSED:
            raise RefusedError(response.payload)
        assert response.code == wire.STORED
        return wire.read_receipt(response.payload, self.receipt_key)

    def upload(
        self,
        name: str,
        content: bytes,
        *,
        upload_id: bytes | None = None,
        announced: int | None = -1,
        policy: int = ALWAYS,
        modified: int = MODIFIED,
        data: DataConnection | None = None,
    ) -> Receipt:
        """A whole upload, resumed where the server says; `announced` None means unknown size.

        With `data` its segments travel there.
        """
        upload_id = os.urandom(16) if upload_id is None else upload_id
        salt = os.urandom(32)
        size = len(content) if announced == -1 else announced
        begun = self.begin(upload_id, salt, name, size, policy=policy, modified=modified)
        if isinstance(begun, Receipt):
            return begun
        (self if data is None else data).send_content(upload_id, salt, content, begun)
        return self.end(upload_id, len(content), wire.digest(content))

    def send_put(
        self,
        name: str | bytes,
        content: bytes,
        *,
        upload_id: bytes | None = None,
        policy: int = ALWAYS,
        modified: int = MODIFIED,
        mode: int = 0o640,
        sha256: bytes | None = None,
        spoil: Callable[[bytes], bytes] = bytes,
    ) -> int:
        """Sends a small file without waiting; `spoil` may alter what is sealed.

        What became of it is received as if *stored* or *refused* had come.
        """
        upload_id = os.urandom(16) if upload_id is None else upload_id
        file = wire.Small(name, content, upload_id, policy, modified, mode, sha256)
        return self.send(wire.PUT, self.put_payload([file], spoil=spoil))

    def put_payload(
        self, files: Sequence[wire.Small], spoil: Callable[[bytes], bytes] = bytes
    ) -> bytes:
        """Small files, sealed but not sent, to be sent in the order in which they are made."""
        assert self.client_id is not None
        self._puts.append(files)
        return wire.put(self.secret, self.client_id, files, spoil)

    def put_together(self, files: Sequence[wire.Small]) -> list[Receipt | int]:
        """Sends small files in one message; for each its receipt, or why it was refused."""
        self.send(wire.PUT, self.put_payload(files))
        response = MessageStream.receive(self)
        assert response.code == wire.OUTCOMES
        return [
            wire.read_receipt(data, self.receipt_key)
            if code == wire.STORED
            else int(RefusedError(data).reason)
            for code, data in self._outcomes(response.payload)
        ]

    def forget_put(self) -> None:
        """What became of the oldest *put* was looked at by somebody else."""
        self._puts.popleft()

    def _outcomes(self, payload: bytes) -> list[tuple[int, bytes]]:
        assert self.client_id is not None
        files = self._puts.popleft()
        return wire.read_outcomes(payload, files, self.receipt_key, self.client_id, self.name)

    def receive(self) -> Message:
        """The next response; that to a *put* of one file is the message that it stands for."""
        response = super().receive()
        if response.code != wire.OUTCOMES or len(self._puts[0]) > 1:
            return response
        ((code, payload),) = self._outcomes(response.payload)
        return Message(code, response.request_id, payload)

    def stored(self, request_id: int | None = None) -> Receipt:
        """The receipt that comes next."""
        return wire.read_receipt(self.expect(wire.STORED, request_id), self.receipt_key)

    def put(
        self,
        name: str | bytes,
        content: bytes,
        *,
        upload_id: bytes | None = None,
        policy: int = ALWAYS,
        modified: int = MODIFIED,
        sha256: bytes | None = None,
    ) -> Receipt:
        """Sends a small file and waits for its receipt."""
        return self.stored(
            self.send_put(
                name, content, upload_id=upload_id, policy=policy, modified=modified, sha256=sha256
            )
        )

    def abandon(self, upload_id: bytes) -> None:
        """Gives an upload up."""
        assert self.ask(wire.ABANDON, upload_id, wire.DONE) == b""

    # Files

    def list_page(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> tuple[bool, list[Entry]]:
        """One page: whether there are further entries, and the entries."""
        payload = self.ask(
            wire.LIST, text(prefix) + text(after) + struct.pack("<H", limit), wire.ENTRIES
        )
        more, count = struct.unpack_from("<BH", payload)
        at, entries = 3, []
        for _ in range(count):
            entry, at = wire.read_entry(payload, at)
            entries.append(entry)
        assert at == len(payload)
        return bool(more), entries

    def names(self, prefix: str = "") -> list[str]:
        """Every name that begins with `prefix`, by pages."""
        names: list[str] = []
        more = True
        while more:
            more, entries = self.list_page(prefix, names[-1] if names else "")
            names += [entry.name for entry in entries]
        return names

    def stat(self, name: str | bytes) -> Entry:
        """One entry."""
        entry, _ = wire.read_entry(self.ask(wire.STAT, text(name), wire.ENTRY))
        return entry

    def send_get(self, name: str | bytes, salt: bytes, offset: int = 0) -> int:
        """Sends *get* only."""
        return self.send(wire.GET, salt + struct.pack("<Q", offset) + text(name))

    def get(
        self, name: str | bytes, offset: int = 0, data: DataConnection | None = None
    ) -> tuple[Entry, bytes]:
        """A file's entry and its content from an offset on, each segment verified.

        With `data` the content is read there.
        """
        salt = os.urandom(32)
        request_id = self.send_get(name, salt, offset)
        entry, _ = wire.read_entry(self.expect(wire.ENTRY, request_id))
        return entry, self.content(entry, salt, offset, request_id, data)

    def content(
        self,
        entry: Entry,
        salt: bytes,
        offset: int,
        request_id: int,
        data: DataConnection | None = None,
    ) -> bytes:
        """The content messages that follow an entry."""
        stream = self if data is None else data
        key = self.key_of(entry.upload_id, salt, wire.TO_CLIENT)
        received, due, final = bytearray(), offset // wire.SEGMENT, False
        while not final:
            payload = stream.expect(wire.CONTENT, request_id)
            index, flag = struct.unpack_from("<QB", payload)
            assert index == due
            final = bool(flag)
            received += wire.unseal(key, entry.upload_id, index, payload[9:], final=final)
            due += 1
        return bytes(received)

    def remove(self, name: str | bytes) -> None:
        """Removes a file."""
        assert self.ask(wire.REMOVE, text(name), wire.DONE) == b""

    def rename(self, old: str | bytes, new: str | bytes, policy: int = wire.NEVER) -> None:
        """Renames a file."""
        payload = bytes([policy]) + text(old) + text(new)
        assert self.ask(wire.RENAME, payload, wire.DONE) == b""
