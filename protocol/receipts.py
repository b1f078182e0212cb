"""The signed part of a receipt, as bytes (section 7 of docs/protocol-4.md)."""

import struct
from collections.abc import Sequence
from typing import ClassVar

from protocol.fields import I64, Prefixed
from protocol.merkle import HASH_BYTES, MerkleTree
from protocol.records import Layout, Record
from protocol.requests4 import CLIENT_ID, CLIENT_NAME, NAME, SHA256, SIZE, UPLOAD_ID
from protocol.responses4 import RECEIPT_KEY
from protocol.smallfiles import SmallFile

RECEIPT_MAGIC = b"EFT receipt 1\0"

_FILE = struct.Struct("<16sQq32s")
_PLACE = struct.Struct("<HHB")
_SIGNED = b"eft/4 receipts\0"


def signed_bytes(count: int, root: bytes) -> bytes:
    """What the signature of `count` receipts covers, whose Merkle tree has this 32-byte root."""
    return _SIGNED + count.to_bytes(2, "little") + root


class ReceiptBodies:
    """Packs the bodies of many receipts of one client, whose fields were checked before."""

    def __init__(self, receipt_key: bytes, client_id: bytes, client_name: str) -> None:
        self._beginning = RECEIPT_MAGIC + receipt_key + client_id
        self._client_name = CLIENT_NAME.write(client_name)

    def pack(self, file: SmallFile, received: int) -> bytes:
        """What `ReceiptBody.pack` gives for this file."""
        name = file.name.encode()
        return b"".join(
            (
                self._beginning,
                _FILE.pack(file.upload_id, file.size, received, file.sha256),
                self._client_name,
                len(name).to_bytes(2, "little"),
                name,
            )
        )


def pack_receipts(bodies: Sequence[bytes], tree: MerkleTree, signature: bytes) -> list[bytes]:
    """The receipts with these bodies, the leaves of `tree`, each as `Stored.pack` gives it."""
    count = len(bodies)
    return [
        b"".join(
            (
                len(body).to_bytes(2, "little"),
                body,
                _PLACE.pack(index, count, len(path) // HASH_BYTES),
                path,
                signature,
            )
        )
        for index, (body, path) in enumerate(zip(bodies, tree.paths(), strict=True))
    ]


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
