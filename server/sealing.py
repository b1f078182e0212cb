"""Protocol 4's sealed segments on the server's side (section 4): AES-256-GCM."""

from Crypto.Cipher import AES
from Crypto.Hash import SHA256
from Crypto.Protocol.KDF import HKDF

from protocol.contexts import (
    KEY_BYTES,
    TAG_BYTES,
    Direction,
    associated_data,
    content_key_info,
    segment_nonce,
)
from protocol.errors import BadSegment


def content_key(
    secret: bytes, salt: bytes, direction: Direction, client_id: bytes, upload_id: bytes
) -> bytes:
    """The key of one content: HKDF-SHA256 (RFC 5869) from the connection's secret."""
    info = content_key_info(direction, client_id, upload_id)
    return HKDF(secret, KEY_BYTES, salt, SHA256, context=info)


class SegmentOpener:
    """Opens the segments of one attempt at an upload, in order."""

    def __init__(self, key: bytes, upload_id: bytes, next_index: int) -> None:
        self._key = key
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
        size = len(sealed) - TAG_BYTES
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=segment_nonce(index, final=final))
        cipher.update(associated_data(self._upload_id, index))
        opened = plain[:size]
        try:
            cipher.decrypt(sealed[:size], output=opened)
            cipher.verify(bytes(sealed[size:]))
        except ValueError as error:
            raise BadSegment(f"segment {index} does not verify") from error
        self.next_index = index + 1
        self.finished = final
        return opened


class SegmentSealer:
    """Seals the segments of one download."""

    def __init__(self, key: bytes, upload_id: bytes) -> None:
        self._key = key
        self._upload_id = upload_id

    def seal(self, index: int, plain: memoryview, sealed: memoryview, *, final: bool) -> memoryview:
        """Ciphertext and tag, written to the front of `sealed`."""
        size = len(plain)
        cipher = AES.new(self._key, AES.MODE_GCM, nonce=segment_nonce(index, final=final))
        cipher.update(associated_data(self._upload_id, index))
        cipher.encrypt(plain, output=sealed[:size])
        sealed[size : size + TAG_BYTES] = cipher.digest()
        return sealed[: size + TAG_BYTES]
