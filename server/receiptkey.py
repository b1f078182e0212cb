"""The key that signs receipts (section 7): Ed25519 (RFC 8032), apart from the certificate.

Certificates are renewed; a receipt must be verifiable years later by the key it was signed with.
"""

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.merkle import MerkleTree
from protocol.messages4 import Stored
from protocol.receipts import signed_bytes
from server.durability import write_private
from server.errors import ConfigurationError
from server.privatefiles import check_private

_KEY_BYTES = 32


class ReceiptKey:
    """Signs receipts with the key in a file of mode 0600, which is made on the first start."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigurationError` when the file is unusable."""
        try:
            if not path.exists():
                write_private(path, Ed25519PrivateKey.generate().private_bytes_raw())
            check_private(path, path.stat(), f"receipt key {path}")
            seed = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"receipt key {path}: {error.strerror}") from error
        if len(seed) != _KEY_BYTES:
            raise ConfigurationError(f"receipt key {path} is damaged: restore it from a backup")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )
        """The 32-byte public key."""

    def sign(self, bodies: Sequence[bytes]) -> list[Stored]:
        """The receipts with these packed bodies, 1 to 65,535 of them, under one signature."""
        tree, count = MerkleTree(bodies), len(bodies)
        signature = self.sign_root(count, tree.root)
        return [
            Stored(body, index, count, tree.path(index), signature)
            for index, body in enumerate(bodies)
        ]

    def sign_root(self, count: int, root: bytes) -> bytes:
        """The signature for `count` receipts, whose tree has this root."""
        return self._key.sign(signed_bytes(count, root))
