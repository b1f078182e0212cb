"""What protocol 4 feeds to its cryptography: the exact byte strings of sections 3.2 and 4.

Pure functions of sizes and ids; the keys are elsewhere. They raise `ValueError` on an id or a
number that cannot be: these come from the caller, never straight from the peer.
"""

from enum import IntEnum

from protocol.errors import BadSegment
from protocol.header import CLIENT_ID_BYTES

SEGMENT_BYTES = 1_048_576
"""Plain content in every segment but the last, which may have less."""
SMALL_FILE_BYTES = 524_288
"""The most plain content that a file of a *put* has."""
TAG_BYTES = 16
"""What sealing adds to the plain content: the tag of AES-GCM."""
MAX_CONTENT_BYTES = 2**63 - 1
UPLOAD_ID_BYTES = 16
SALT_BYTES = 32
SECRET_BYTES = 32
KEY_BYTES = 32
PROOF_BYTES = 32
FINGERPRINT_BYTES = 32
TICKET_BYTES = 32
NONCE_BYTES = 12

_CONNECT = b"eft/4 connect\0"
_CONTENT = b"eft/4 content\0"
_FILES = b"eft/4 files\0"


class Direction(IntEnum):
    """Which way sealed content travels; upload and download never share a key."""

    TO_SERVER = 1
    TO_CLIENT = 2


def challenge_context(fingerprint: bytes, client_id: bytes) -> bytes:
    """The OAEP label of *challenge*, and what the proof is computed over (section 3.2).

    `fingerprint` is SHA-256 of the server's certificate: on the server that of its own, on the
    client that of the one it was shown.
    """
    _check_size("fingerprint", fingerprint, FINGERPRINT_BYTES)
    _check_size("client id", client_id, CLIENT_ID_BYTES)
    return _CONNECT + fingerprint + client_id


def content_key_info(direction: Direction, client_id: bytes, upload_id: bytes) -> bytes:
    """HKDF's `info` for the key of one content in one direction (section 4)."""
    _check_size("client id", client_id, CLIENT_ID_BYTES)
    _check_size("upload id", upload_id, UPLOAD_ID_BYTES)
    return _CONTENT + bytes((direction,)) + client_id + upload_id


def files_key_info(client_id: bytes) -> bytes:
    """HKDF's `info` for the key of the small files of one *put* (section 5.2)."""
    _check_size("client id", client_id, CLIENT_ID_BYTES)
    return _FILES + client_id


FILES_NONCE = bytes(NONCE_BYTES)
"""AES-GCM's nonce for the small files of a *put*: its key seals nothing else."""


def segment_nonce(index: int, *, final: bool) -> bytes:
    """The 12 bytes of AES-GCM's nonce for one segment: a key seals each index once."""
    _check_index(index)
    return index.to_bytes(NONCE_BYTES - 1, "big") + bytes((final,))


def associated_data(upload_id: bytes, index: int) -> bytes:
    """What the tag of a segment covers beside its content (section 4)."""
    _check_size("upload id", upload_id, UPLOAD_ID_BYTES)
    _check_index(index)
    return upload_id + index.to_bytes(8, "little")


def segment_count(size: int) -> int:
    """How many segments content of `size` bytes has: at least one, since empty content has one."""
    if not 0 <= size <= MAX_CONTENT_BYTES:
        raise ValueError(f"content of {size} bytes")
    return max(1, -(-size // SEGMENT_BYTES))


def segment_span(index: int, size: int) -> tuple[int, int]:
    """Where segment `index` of content of `size` bytes begins and ends; the end is not part of it.

    The last one, `segment_count(size) - 1`, is the final one.
    """
    if not 0 <= index < segment_count(size):
        raise ValueError(f"segment {index} of content of {size} bytes")
    start = index * SEGMENT_BYTES
    return start, min(start + SEGMENT_BYTES, size)


def check_segment_size(index: int, sealed_bytes: int, *, final: bool) -> None:
    """Raises `BadSegment` unless a sealed segment of this size can stand at this place.

    Full unless it is final, empty only when it is the first one too, and within the largest
    content that there can be.
    """
    plain_bytes = sealed_bytes - TAG_BYTES
    least = SEGMENT_BYTES if not final else 1 if index else 0
    if not least <= plain_bytes <= SEGMENT_BYTES:
        kind = "the final one" if final else "not the final one"
        raise BadSegment(f"segment {index}, {kind}, holds {plain_bytes} bytes")
    if index * SEGMENT_BYTES + plain_bytes > MAX_CONTENT_BYTES:
        raise BadSegment(f"segment {index} ends beyond the largest content")


def _check_index(index: int) -> None:
    if not 0 <= index <= MAX_CONTENT_BYTES // SEGMENT_BYTES:
        raise ValueError(f"segment index {index}")


def _check_size(what: str, data: bytes, expected: int) -> None:
    if len(data) != expected:
        raise ValueError(f"{what} of {len(data)} bytes where {expected} are expected")
