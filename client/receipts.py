"""Receipts: what servers have signed for, checked and kept."""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from client.errors import BadReceipt, BadState
from client.private_files import sync_directory
from client.state import make_private_directory, writing
from protocol.channel import format_fingerprint
from protocol.errors import ProtocolError
from protocol.merkle import MerkleTree, root_from
from protocol.receipts import ReceiptBodies, ReceiptBody, pack_receipts, signed_bytes
from protocol.responses4 import Stored
from protocol.smallfiles import SmallFile

_SUFFIX = ".receipts"
_SIZE = struct.Struct("<I")
_FULL_BYTES = 16 << 20
"""From here on the next receipts go into another file."""
_LARGEST_BYTES = 64 << 20


class Receipt(NamedTuple):
    """What a server promised to have stored, its signature checked; `path` is where it is kept."""

    body: ReceiptBody
    packed: bytes
    path: Path | None = None


class Signer(NamedTuple):
    """Who signs, and for whom: what *connected* told, over the authenticated channel."""

    receipt_key: bytes
    client_id: bytes
    client_name: str

    def check(
        self, stored: Stored, upload_id: bytes, name: str, size: int, sha256: bytes
    ) -> Receipt:
        """The receipt, when it is signed and says just this; raises `BadReceipt` otherwise."""
        packed = stored.pack()
        body = verify_receipt(packed, (self.receipt_key,))
        # The time is that of the server's clock: there is nothing to compare it with.
        if body != self._body(upload_id, size, body.received, sha256, name):
            raise BadReceipt(f"the server's receipt for {name!r} is not for what was sent")
        return Receipt(body, packed)

    def receipts(
        self, files: Sequence[SmallFile], received: int, signature: bytes
    ) -> list[Receipt]:
        """The receipts of files that were stored together, when this is the signature for them.

        Raises `BadReceipt`.
        """
        if not files:
            return []
        bodies = ReceiptBodies(self.receipt_key, self.client_id, self.client_name)
        packed = [bodies.pack(file, received) for file in files]
        tree = MerkleTree(packed)
        if not _is_signed(signed_bytes(len(files), tree.root), signature, self.receipt_key):
            raise BadReceipt("the server's receipts are not signed, or not for what was sent")
        return [
            Receipt(
                self._body(file.upload_id, file.size, received, file.sha256, file.name), receipt
            )
            for file, receipt in zip(files, pack_receipts(packed, tree, signature), strict=True)
        ]

    def _body(
        self, upload_id: bytes, size: int, received: int, sha256: bytes, name: str
    ) -> ReceiptBody:
        return ReceiptBody(
            self.receipt_key,
            self.client_id,
            upload_id,
            size,
            received,
            sha256,
            self.client_name,
            name,
        )


def verify_receipt(packed: bytes, known_keys: Iterable[bytes]) -> ReceiptBody:
    """What a receipt (`Receipt.packed`) says, when one of the known receipt keys has signed it.

    Needs no server. Raises `BadReceipt`.
    """
    return _verified(packed, known_keys, "the receipt")


def read_receipts(path: Path) -> list[bytes]:
    """The packed receipts in a file that a `ReceiptStore` has written, not verified.

    One whose writing was cut off, at the end of the file, is left out: nobody was told of it.
    Raises `BadReceipt` when there is none, `BadState` when the file cannot be read.
    """
    found = _records(_read(path))
    if not found:
        raise BadReceipt(f"{str(path)!r} holds no receipts")
    return found


class ReceiptStore:
    """The receipts in a directory; each store that is opened adds a file to it, if it keeps any.

    Each receipt stands behind its size (u32, little-endian). Files are named after the upload id of
    their first receipt.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path: Path | None = None
        self._size = 0

    def store(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Keeps them, durably; the same with the path of their file. Raises `NotWritten`."""
        if not receipts:
            return []
        new = self._path is None
        path = self._path or self._directory / f"{receipts[0].body.upload_id.hex()}{_SUFFIX}"
        make_private_directory(self._directory)
        with writing(path):
            self._size = _append(path, receipts, None if new else self._size)
            if new:
                sync_directory(self._directory)
        self._path = path if self._size < _FULL_BYTES else None
        return [receipt._replace(path=path) for receipt in receipts]

    def paths(self) -> Iterator[Path]:
        """The files, the oldest first."""
        if self._directory.is_dir():
            found = self._directory.glob(f"*{_SUFFIX}")
            yield from sorted(found, key=lambda path: path.stat().st_mtime_ns)


def _append(path: Path, receipts: Sequence[Receipt], size: int | None) -> int:
    """Adds all of them to the file or none; its size in bytes then, where `size` was before."""
    # Opened for each call: a store lives as long as a program, and needs no descriptor.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        if size is None:
            # An earlier run may have been cut off in here: what it left is none.
            size = sum(_SIZE.size + len(packed) for packed in _records(file.read()))
        try:
            file.seek(size)
            file.truncate()
            packed = (receipt.packed for receipt in receipts)
            file.write(b"".join([part for one in packed for part in (_SIZE.pack(len(one)), one)]))
            file.flush()
            os.fsync(descriptor)
        except BaseException:  # whatever it was, nothing may stand before the next one
            os.ftruncate(descriptor, size)
            raise
        return file.tell()


def _records(data: bytes) -> list[bytes]:
    """The receipts in the content of a file, without one that is cut off at the end."""
    rest = memoryview(data)
    found = []
    while len(rest) > _SIZE.size:
        (size,) = _SIZE.unpack_from(rest)
        packed = rest[_SIZE.size : _SIZE.size + size]
        if len(packed) < max(size, 1):
            break
        found.append(bytes(packed))
        rest = rest[_SIZE.size + size :]
    return found


def _verified(packed: bytes, known_keys: Iterable[bytes], shown: str) -> ReceiptBody:
    try:
        stored = Stored.unpack(packed)
        body = ReceiptBody.unpack(stored.body)
    except ProtocolError as error:
        raise BadReceipt(f"{shown} is not a receipt: {error}") from error
    if body.receipt_key not in known_keys:
        key = format_fingerprint(body.receipt_key)
        raise BadReceipt(f"{shown} names a key that belongs to no known server: {key}")
    try:
        root = root_from(stored.body, stored.index, stored.count, stored.path)
    except ProtocolError as error:
        raise BadReceipt(f"{shown} has no place among the signed ones: {error}") from error
    if not _is_signed(signed_bytes(stored.count, root), stored.signature, body.receipt_key):
        raise BadReceipt(f"{shown} is not signed by the key that it names: it was altered")
    return body


# Receipts that share a signature are verified one after the other.
@lru_cache(maxsize=16)
def _is_signed(signed: bytes, signature: bytes, key: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise BadState(str(path), error.strerror or "unreadable", "name a receipt") from error
    if len(data) > _LARGEST_BYTES:
        raise BadState(str(path), "larger than any file of receipts", "name one")
    return data
