"""Requests of protocol 4 drawn so that they mean something: sealed under the session's secret."""

import hashlib
import struct
from collections.abc import Sequence
from functools import lru_cache

from client.sealing4 import seal_files
from protocol.contexts import SEGMENT_BYTES, Direction
from protocol.records import Record
from server.sealing import SegmentSealer, content_key
from tests.fuzz.choices import Choices
from tests.fuzz.drawing import Material
from tests.fuzz.serverside import CLIENT_ID, PROOF, SECRET, public_key

UPLOAD_IDS = tuple(bytes((number,)) * 16 for number in range(1, 5))
SALTS = tuple(bytes((number,)) * 32 for number in range(1, 4))
NAMES = (b"a", b"b", b"docs/a", b"docs/b", b"..", b"a/../b", b"", b"\xff", b"x" * 300)
PLAINS = (b"", b"x", b"content" * 9, bytes(4096))
_FULL = bytes(SEGMENT_BYTES)
_MOST_FULL = 2
_LIMITS = (1, 2, 1000, 1001)


@lru_cache(8)
def _sealed_full(salt: bytes, upload_id: bytes, index: int, final: bool) -> bytes:
    return seal(salt, upload_id, index, _FULL, final=final)


@lru_cache(256)
def _key(salt: bytes, upload_id: bytes) -> bytes:
    return content_key(SECRET, salt, Direction.TO_SERVER, CLIENT_ID, upload_id)


def seal(salt: bytes, upload_id: bytes, index: int, plain: bytes, *, final: bool) -> bytes:
    """One segment as the client would seal it."""
    output = memoryview(bytearray(len(plain) + 16))
    sealer = SegmentSealer(_key(salt, upload_id), upload_id)
    return bytes(sealer.seal(index, memoryview(plain), output, final=final))


@lru_cache(256)
def _sha256(pieces: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


class Uploading(Material):
    """What the fields of requests hold: what fits the uploads under way, and now and then not.

    `begin` is told of each message before it is drawn. Where a message has a salt, that seals its
    content; else the salt of the latest message that had one for the same upload.
    """

    def __init__(self) -> None:
        self._salts: dict[bytes, bytes] = {}
        self._pieces: dict[bytes, list[bytes]] = {}
        self._full = 0
        self._latest = b""
        self._plain = b""
        self.ticket = bytes(32)
        self.begin(Record)

    def begin(self, kind: type[Record]) -> None:
        """The next message is of this kind."""
        self._fields = kind.__match_args__
        self._drawn: dict[str, bytes] = {}

    def begun(self, offset: int) -> None:
        """The server has so many bytes of the upload that was begun last."""
        self._pieces[self._latest] = [_FULL] * min(offset // SEGMENT_BYTES, 2 * _MOST_FULL)

    def value(self, name: str, size: int | None, choices: Choices) -> bytes | None:
        chosen = self._chosen(name, choices)
        if chosen is not None:
            self._drawn[name] = chosen
        return chosen

    def _chosen(self, name: str, choices: Choices) -> bytes | None:
        match name:
            case "client_id":
                return CLIENT_ID if choices.byte() % 8 else bytes(16)
            case "proof":
                return PROOF if choices.byte() % 8 else bytes(32)
            case "public_key":
                return public_key() if choices.byte() % 8 else None
            case "upload_id":
                return choices.pick(UPLOAD_IDS)
            case "salt":
                return self._salt(choices)
            case "name" | "old_name" | "new_name" | "prefix" | "after":
                return choices.pick(NAMES)
            case "limit":
                return choices.pick(_LIMITS).to_bytes(2, "little")
            case _:
                return self._content(name, choices)

    def _salt(self, choices: Choices) -> bytes:
        salt = choices.pick(SALTS)
        upload_id = self._drawn.get("upload_id", b"")
        self._salts[upload_id] = salt
        self._pieces[upload_id] = []
        self._latest = upload_id
        return salt

    def _content(self, name: str, choices: Choices) -> bytes | None:
        """Fields whose values follow from the content that they are about."""
        upload_id = self._drawn.get("upload_id", b"")
        pieces = self._pieces.setdefault(upload_id, [])
        match name:
            case "index":
                return (len(pieces) + choices.byte() // 250).to_bytes(8, "little")
            case "final":
                full = choices.byte() > 240 and self._full < _MOST_FULL
                plain = _FULL if full else choices.pick(PLAINS)
                self._full += full
                pieces.append(plain)
                return bytes((not full or choices.byte() % 2,))
            case "sha256":
                return _sha256(tuple(pieces)) if choices.byte() < 240 else bytes(32)
            case "size" if "sha256" in self._fields:
                return sum(map(len, pieces)).to_bytes(8, "little") if choices.byte() < 240 else None
            case "table":
                return self._table(choices)
            case "sealed" if "table" in self._fields:
                return self._sealed_files(choices)
            case "sealed":
                return self._sealed(upload_id, choices)
        return None

    def _table(self, choices: Choices) -> bytes:
        """Small files: mostly right in form, their content remembered until it is sealed."""
        entries = []
        self._plain = b""
        for _ in range(1 + choices.byte() % 3):
            plain = choices.pick(PLAINS)
            digest = _sha256((plain,)) if choices.byte() < 240 else bytes(32)
            name = choices.pick(NAMES)
            numbers = (len(plain), choices.byte(), 0o640, choices.byte() % 4)
            upload_id = choices.pick(UPLOAD_IDS)
            fixed = struct.pack("<16sIqHB32sH", upload_id, *numbers, digest, len(name))
            entries.append(fixed + name)
            self._plain += plain
        return b"".join(entries)

    def _sealed_files(self, choices: Choices) -> bytes | None:
        if choices.byte() > 250:
            return None
        salt, table = self._drawn["salt"], self._drawn["table"]
        return seal_files(SECRET, salt, CLIENT_ID, table, self._plain)

    def _sealed(self, upload_id: bytes, choices: Choices) -> bytes | None:
        flaw = choices.byte()
        if flaw > 250 or not self._pieces[upload_id]:
            return None
        plain = self._pieces[upload_id][-1]
        salt = self._salts.get(upload_id, SALTS[0])
        index = int.from_bytes(self._drawn.get("index", b""), "little") % (1 << 40)
        final = self._drawn.get("final", b"\1") == b"\1"
        if plain is _FULL:
            return _sealed_full(salt, upload_id, index, final)
        return seal(salt, upload_id, index, plain, final=final)
