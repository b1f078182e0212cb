"""The signed part of a receipt, as bytes (section 7 of docs/protocol-4.md)."""

from dataclasses import dataclass
from typing import ClassVar

from protocol.fields import I64, Layout, Prefixed, Record
from protocol.requests4 import CLIENT_ID, CLIENT_NAME, NAME, SHA256, SIZE, UPLOAD_ID
from protocol.responses4 import RECEIPT_KEY

RECEIPT_MAGIC = b"EFT receipt 1\0"

_SIGNED = b"eft/4 receipts\0"


def signed_bytes(count: int, root: bytes) -> bytes:
    """What the signature of `count` receipts covers, whose Merkle tree has this 32-byte root."""
    return _SIGNED + count.to_bytes(2, "little") + root


@dataclass(frozen=True, slots=True)
class ReceiptBody(Record):
    """What the server promises to have stored, and for whom.

    `size` is in bytes, `received` in seconds since 1970 UTC. The signature is checked
    elsewhere, and so is that `receipt_key` is the one known for the server: without both, nothing
    here is worth anything.
    """

    receipt_key: bytes
    client_id: bytes
    upload_id: bytes
    size: int
    received: int
    sha256: bytes
    client_name: str
    file_name: str

    LAYOUT: ClassVar[Layout] = Layout(
        Prefixed(RECEIPT_MAGIC, RECEIPT_KEY),
        CLIENT_ID,
        UPLOAD_ID,
        SIZE,
        I64,
        SHA256,
        CLIENT_NAME,
        NAME,
        max_bytes=65_535,  # it travels as a blob
    )
