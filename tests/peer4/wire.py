"""Protocol 4 as bytes, written from docs/protocol-4.md alone, with pycryptodome."""

import hashlib
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF
from Crypto.Signature import eddsa

from tests.peer4 import merkle

SEGMENT = 1_048_576
SMALL = 524_288
TAG = 16
UNKNOWN_SIZE = 2**64 - 1
MAX_PAYLOAD = SEGMENT + 1024
MAX_OTHER_PAYLOAD = 65_536
DATA_PREFACE = b"EFT/4 data" + bytes(6)

REGISTER, CONNECT, PROVE = 1, 2, 3
BEGIN, SEGMENT_CODE, END, PUT, ABANDON, ATTACH = 16, 17, 18, 19, 20, 21
LIST, STAT, GET, REMOVE, RENAME = 32, 33, 34, 35, 36
REGISTERED, CHALLENGE, CONNECTED = 32769, 32770, 32771
BEGUN, STORED, OUTCOMES, TICKET = 32784, 32786, 32787, 32789
ENTRIES, ENTRY, CONTENT, DONE, REFUSED = 32800, 32801, 32802, 32803, 33023

PROTOCOL, ACCESS_DENIED, TOO_MANY, NAME_TAKEN, UNSAFE_NAME, EXISTS = 1, 2, 3, 4, 5, 6
NOT_FOUND, QUOTA, TOO_LARGE, SERVER_FULL, BAD_SEGMENT = 7, 8, 9, 10, 11
DIGEST_MISMATCH, UNKNOWN_UPLOAD, SERVER_FAILED, SHUTTING_DOWN = 12, 13, 14, 15

NEVER, IF_OLDER, ALWAYS = 0, 1, 2
TO_SERVER, TO_CLIENT = b"\1", b"\2"

_HEADER = struct.Struct("<BHII")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True)
class Message:
    """A response as it came."""

    code: int
    request_id: int
    payload: bytes


class RefusedError(Exception):
    """The server answered *refused*."""

    def __init__(self, payload: bytes) -> None:
        self.reason, self.retry_after, size = struct.unpack_from("<HIH", payload)
        self.text = payload[8:].decode()
        assert len(payload) == 8 + size
        super().__init__(self.reason, self.text)


class NotAuthentic(Exception):
    """A segment or a receipt is not what the server, or the client, has sealed or signed."""


@dataclass(frozen=True)
class Receipt:
    """The fields of a receipt whose signature was verified.

    Two are equal when they say the same, whatever other receipts were signed with them.
    """

    body: bytes
    index: int = field(compare=False)
    count: int = field(compare=False)
    path: tuple[bytes, ...] = field(compare=False)
    signature: bytes = field(compare=False)
    receipt_key: bytes
    client_id: bytes
    upload_id: bytes
    size: int
    received: int
    sha256: bytes
    client_name: str
    file_name: str


@dataclass(frozen=True)
class Entry:
    """One file as the server describes it."""

    upload_id: bytes
    size: int
    modified: int
    mode: int
    received: int
    sha256: bytes | None
    cksum: int | None
    name: str


@dataclass(frozen=True)
class Small:
    """A small file as a *put* tells of it."""

    name: str | bytes
    content: bytes
    upload_id: bytes
    policy: int = ALWAYS
    modified: int = 0
    mode: int = 0o640
    sha256: bytes | None = None

    @property
    def told(self) -> bytes:
        """The SHA-256 that is told, which need not be right."""
        return digest(self.content) if self.sha256 is None else self.sha256

    def entry(self) -> bytes:
        """Its part of the table."""
        numbers = struct.pack("<IqHB", len(self.content), self.modified, self.mode, self.policy)
        return self.upload_id + numbers + self.told + text(self.name)


def message(code: int, payload: bytes, request_id: int = 1, version: int = 4) -> bytes:
    """Header and payload."""
    return _HEADER.pack(version, code, request_id, len(payload)) + payload


def header(data: bytes) -> tuple[int, int, int, int]:
    """Version, code, request id, payload size."""
    version, code, request_id, size = _HEADER.unpack(data)
    return version, code, request_id, size


def text(value: str | bytes) -> bytes:
    """A text field; bytes go as they are."""
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<H", len(data)) + data


def content_key(
    secret: bytes, salt: bytes, direction: bytes, client_id: bytes, upload_id: bytes
) -> bytes:
    """The key of one content."""
    info = b"eft/4 content\0" + direction + client_id + upload_id
    return HKDF(secret, 32, salt, SHA256, context=info)


def seal(key: bytes, upload_id: bytes, index: int, plain: bytes, *, final: bool) -> bytes:
    """One sealed segment."""
    cipher = AES.new(key, AES.MODE_GCM, nonce=_nonce(index, final=final))
    cipher.update(_data(upload_id, index))
    return b"".join(cipher.encrypt_and_digest(plain))


def unseal(key: bytes, upload_id: bytes, index: int, sealed: bytes, *, final: bool) -> bytes:
    """The plain content of a segment; raises `NotAuthentic`."""
    cipher = AES.new(key, AES.MODE_GCM, nonce=_nonce(index, final=final))
    cipher.update(_data(upload_id, index))
    try:
        return cipher.decrypt_and_verify(sealed[:-TAG], sealed[-TAG:])
    except ValueError as error:
        raise NotAuthentic(str(error)) from error


def put(
    secret: bytes,
    client_id: bytes,
    files: Sequence[Small],
    spoil: Callable[[bytes], bytes] = bytes,
    salt: bytes | None = None,
) -> bytes:
    """The payload of *put* (section 5.2); `spoil` may alter what is sealed."""
    salt = os.urandom(32) if salt is None else salt
    table = b"".join(file.entry() for file in files)
    key = HKDF(secret, 32, salt, SHA256, context=b"eft/4 files\0" + client_id)
    cipher = AES.new(key, AES.MODE_GCM, nonce=bytes(12))
    cipher.update(table)
    sealed = b"".join(cipher.encrypt_and_digest(b"".join(file.content for file in files)))
    return salt + struct.pack("<H", len(table)) + table + spoil(sealed)


def read_outcomes(
    payload: bytes, files: Sequence[Small], receipt_key: bytes, client_id: bytes, client_name: str
) -> list[tuple[int, bytes]]:
    """For each file of a *put* the code and the payload of the message that its outcome stands for:
    *stored* or *refused*."""
    received = payload[:8]
    signature, at = payload[8:72], 72
    kinds: list[tuple[int, bytes]] = []
    for _ in files:
        kind, at = payload[at], at + 1
        assert kind in (0, 1, 2)
        start, size = at, 0
        if kind == 1:
            start, size = at + 2, struct.unpack_from("<H", payload, at)[0]
        elif kind == 2:
            size = 8 + struct.unpack_from("<H", payload, at + 6)[0]
        at = start + size
        kinds.append((kind, payload[start:at]))
    assert at == len(payload)
    bodies = [
        b"EFT receipt 1\0" + receipt_key + client_id + file.upload_id
        + struct.pack("<Q", len(file.content)) + received + file.told
        + text(client_name) + text(file.name)
        for file, (kind, _) in zip(files, kinds, strict=True) if kind == 0
    ]  # fmt: skip
    assert bodies or payload[:72] == bytes(72)
    places = iter(range(len(bodies)))
    found = []
    for kind, data in kinds:
        if kind == 0:
            place = next(places)
            path = merkle.path(place, bodies)
            found.append((STORED, stored(bodies[place], place, len(bodies), path, signature)))
        else:
            found.append((STORED if kind == 1 else REFUSED, data))
    return found


def pieces(content: bytes) -> list[tuple[int, bool, bytes]]:
    """Index, final flag and plain content of each segment."""
    count = max(1, -(-len(content) // SEGMENT))
    return [
        (index, index == count - 1, content[index * SEGMENT : (index + 1) * SEGMENT])
        for index in range(count)
    ]


def stored(body: bytes, index: int, count: int, path: Sequence[bytes], signature: bytes) -> bytes:
    """The payload of *stored*."""
    places = struct.pack("<HHB", index, count, len(path))
    return struct.pack("<H", len(body)) + body + places + b"".join(path) + signature


def read_receipt(payload: bytes, receipt_key: bytes) -> Receipt:
    """The receipt in *stored*; raises `NotAuthentic`."""
    (size,) = struct.unpack_from("<H", payload)
    body = payload[2 : 2 + size]
    index, count, steps = struct.unpack_from("<HHB", payload, 2 + size)
    start = 7 + size
    path = tuple(payload[start + 32 * step : start + 32 * (step + 1)] for step in range(steps))
    signature = payload[start + 32 * steps :]
    assert len(signature) == 64
    verify(receipt_key, body, index, count, path, signature)
    assert body[:14] == b"EFT receipt 1\0"
    length, received = struct.unpack_from("<Qq", body, 78)
    client_name, end = _text(body, 126)
    file_name, end = _text(body, end)
    assert end == len(body)
    return Receipt(
        body, index, count, path, signature, body[14:46], body[46:62], body[62:78], length,
        received, body[94:126], client_name, file_name,
    )  # fmt: skip


def verify(
    receipt_key: bytes,
    body: bytes,
    index: int,
    count: int,
    path: Sequence[bytes],
    signature: bytes,
) -> None:
    """Verifies a receipt (section 7); raises `NotAuthentic`."""
    root = merkle.root_by(body, index, count, path)
    if root is None:
        raise NotAuthentic("no path of this length")
    signed = b"eft/4 receipts\0" + struct.pack("<H", count) + root
    try:
        eddsa.new(eddsa.import_public_key(receipt_key), "rfc8032").verify(signed, signature)
    except ValueError as error:
        raise NotAuthentic(str(error)) from error


def read_entry(payload: bytes, start: int = 0) -> tuple[Entry, int]:
    """An entry and where the next one begins."""
    upload_id = payload[start : start + 16]
    size, modified, mode, received, hashed = struct.unpack_from("<QqHqB", payload, start + 16)
    sha256 = payload[start + 43 : start + 75]
    cksum, summed = struct.unpack_from("<IB", payload, start + 75)
    assert hashed in (0, 1)
    assert summed in (0, 1)
    assert hashed or sha256 == bytes(32)
    assert summed or not cksum
    name, end = _text(payload, start + 80)
    return Entry(
        upload_id, size, modified, mode, received, sha256 if hashed else None,
        cksum if summed else None, name,
    ), end  # fmt: skip


def digest(content: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(content).digest()


def _text(data: bytes, start: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<H", data, start)
    end = start + 2 + size
    assert end <= len(data)
    return data[start + 2 : end].decode(), end


def _nonce(index: int, *, final: bool) -> bytes:
    return index.to_bytes(11, "big") + bytes([final])


def _data(upload_id: bytes, index: int) -> bytes:
    return upload_id + struct.pack("<Q", index)
