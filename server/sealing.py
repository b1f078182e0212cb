"""Protocol 4's sealed segments on the server's side (section 4): AES-256-GCM."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.contexts import (
    FILES_NONCE,
    KEY_BYTES,
    TAG_BYTES,
    Direction,
    associated_data,
    content_key_info,
    files_key_info,
    segment_nonce,
)
from protocol.errors import BadSegment


def content_key(
    secret: bytes, salt: bytes, direction: Direction, client_id: bytes, upload_id: bytes
) -> bytes:
    """The key of one content: HKDF-SHA256 (RFC 5869) from the connection's secret."""
    info = content_key_info(direction, client_id, upload_id)
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(secret)


def open_files(
    secret: bytes, salt: bytes, client_id: bytes, table: bytes, sealed: memoryview
) -> memoryview:
    """The plain content of the small files in one *put*; raises `BadSegment` (section 5.2)."""
    key = HKDF(SHA256(), KEY_BYTES, salt, files_key_info(client_id)).derive(secret)
    plain = memoryview(bytearray(len(sealed) - TAG_BYTES))
    try:
        AESGCM(key).decrypt_into(FILES_NONCE, sealed, table, plain)
    except InvalidTag as error:
        raise BadSegment("small files do not verify") from error
    return plain


class SegmentOpener:
    """Opens the segments of one attempt at an upload, in order."""

    def __init__(self, key: bytes, upload_id: bytes, next_index: int) -> None:
        self._cipher = AESGCM(key)
        self._upload_id = upload_id
        self.next_index = next_index
        self.finished = False

    def open(self, index: int, sealed: memoryview, plain: memoryview, *, final: bool) -> memoryview:
        """The plain content, written to the front of `plain`.

        Raises `BadSegment` when the segment is out of order or does not verify; nothing of `plain`
        may be used then.
        """
        if self.finished or index != self.next_index:
            raise BadSegment(f"segment {index} where {self.next_index} is due")
        opened = plain[: len(sealed) - TAG_BYTES]
        nonce, covered = segment_nonce(index, final=final), associated_data(self._upload_id, index)
        try:
            self._cipher.decrypt_into(nonce, sealed, covered, opened)
        except InvalidTag as error:
            raise BadSegment(f"segment {index} does not verify") from error
        self.next_index = index + 1
        self.finished = final
        return opened


class SegmentSealer:
    """Seals the segments of one download."""

    def __init__(self, key: bytes, upload_id: bytes) -> None:
        self._cipher = AESGCM(key)
        self._upload_id = upload_id

    def seal(self, index: int, plain: memoryview, sealed: memoryview, *, final: bool) -> memoryview:
        """Ciphertext and tag, written to the front of `sealed`."""
        whole = sealed[: len(plain) + TAG_BYTES]
        nonce, covered = segment_nonce(index, final=final), associated_data(self._upload_id, index)
        self._cipher.encrypt_into(nonce, plain, covered, whole)
        return whole
