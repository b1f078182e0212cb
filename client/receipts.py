"""Receipts: what servers have signed for, checked and kept."""

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from client.errors import BadReceipt, BadState
from client.private_files import sync_directory
from client.state import make_private_directory, writing
from protocol.channel import format_fingerprint
from protocol.errors import ProtocolError
from protocol.merkle import root_from
from protocol.receipts import ReceiptBody, signed_bytes
from protocol.responses4 import Stored

_SUFFIX = ".receipts"
_SIZE = struct.Struct("<I")
_LARGEST_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a server promised to have stored, its signature checked; `path` is where it is kept."""

    body: ReceiptBody
    packed: bytes
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Signer:
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
        expected = ReceiptBody(
            receipt_key=self.receipt_key,
            client_id=self.client_id,
            upload_id=upload_id,
            size=size,
            received=body.received,  # the server's clock: nothing to compare it with
            sha256=sha256,
            client_name=self.client_name,
            file_name=name,
        )
        if body != expected:
            raise BadReceipt(f"the server's receipt for {name!r} is not for what was sent")
        return Receipt(body, packed)


def verify_receipt(packed: bytes, known_keys: Iterable[bytes]) -> ReceiptBody:
    """What a receipt (`Receipt.packed`) says, when one of the known receipt keys has signed it.

    Needs no server. Raises `BadReceipt`.
    """
    return _verified(packed, known_keys, "the receipt")


def read_receipts(path: Path) -> list[bytes]:
    """The packed receipts in a file that a `ReceiptStore` has written, not verified.

    Raises `BadReceipt` when the file is none, `BadState` when it cannot be read.
    """
    data = _read(path)
    found = []
    while data:
        (size,) = _SIZE.unpack_from(data.ljust(_SIZE.size))
        packed = data[_SIZE.size : _SIZE.size + size]
        if len(packed) < size or not packed:
            raise BadReceipt(f"{str(path)!r} holds no receipts, or was cut off")
        found.append(packed)
        data = data[_SIZE.size + size :]
    if not found:
        raise BadReceipt(f"{str(path)!r} holds no receipts: it is empty")
    return found


class ReceiptStore:
    """The receipts in a directory: a file for those that came together.

    Each receipt stands behind its size (u32, little-endian). Files are named after the upload id of
    the first one and never changed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def store(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Keeps them, durably; the same with the path of their file. Raises `NotWritten`."""
        if not receipts:
            return []
        make_private_directory(self._directory)
        path = self._directory / f"{receipts[0].body.upload_id.hex()}{_SUFFIX}"
        unfinished = path.with_name(f".{path.name}.new")
        with writing(path):
            descriptor = os.open(
                unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(descriptor, "wb") as file:
                for receipt in receipts:
                    file.write(_SIZE.pack(len(receipt.packed)) + receipt.packed)
                file.flush()
                os.fsync(descriptor)
            unfinished.replace(path)
            sync_directory(self._directory)
        return [Receipt(receipt.body, receipt.packed, path) for receipt in receipts]

    def paths(self) -> Iterator[Path]:
        """The files, the oldest first."""
        if self._directory.is_dir():
            found = self._directory.glob(f"*{_SUFFIX}")
            yield from sorted(found, key=lambda path: path.stat().st_mtime_ns)


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
            return file.read(_LARGEST_BYTES)
    except OSError as error:
        raise BadState(str(path), error.strerror or "unreadable", "name a receipt") from error
