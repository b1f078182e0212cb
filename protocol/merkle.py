"""Merkle trees with SHA-256 (RFC 9162, section 2.1): one signature covers many receipts.

A leaf is hashed behind the byte 0x00 and a pair of hashes behind 0x01, so that none can stand for
the other.
"""

import hashlib
from collections.abc import Sequence

from protocol.errors import ProtocolError

HASH_BYTES = 32

_LEAF, _NODE = b"\0", b"\1"


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf (section 2.1.1); the root of a tree of this one leaf."""
    return hashlib.sha256(_LEAF + data).digest()


class MerkleTree:
    """The tree over some leaves, at least one."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        if not leaves:
            raise ValueError("a tree without leaves")
        # From the leaves to the root. A hash without a partner goes up as it is, which is the same
        # tree as the one that section 2.1.1 defines from the root downwards.
        sha256 = hashlib.sha256
        self._levels = [[sha256(_LEAF + leaf).digest() for leaf in leaves]]
        while len(self._levels[-1]) > 1:
            below = self._levels[-1]
            pairs = zip(below[::2], below[1::2], strict=False)
            level = [sha256(_NODE + left + right).digest() for left, right in pairs]
            self._levels.append(level + below[len(level) * 2 :])

    @property
    def root(self) -> bytes:
        """The 32 bytes that stand for all leaves in their order."""
        return self._levels[-1][0]

    def path(self, index: int) -> tuple[bytes, ...]:
        """The inclusion proof of a leaf, from its own level upwards (section 2.1.3.1)."""
        found = []
        for level in self._levels[:-1]:
            partner = index ^ 1
            if partner < len(level):
                found.append(level[partner])
            index //= 2
        return tuple(found)

    def paths(self) -> list[bytes]:
        """The inclusion proofs of all leaves, each as one piece."""
        # From the root downwards: what two neighbours have in common is put together once.
        paths = [b""]
        for level in reversed(self._levels[:-1]):
            partners = [level[at ^ 1] for at in range(len(level) - len(level) % 2)]
            partners += [b""] * (len(level) % 2)
            paths = [partner + paths[at >> 1] for at, partner in enumerate(partners)]
        return paths


def root_from(data: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes:
    """The root of a tree of `count` leaves in which `data` is leaf `index` (section 2.1.3.2).

    Whether it is the right root is the caller's to check. Raises `ProtocolError` when such a leaf
    has no path of this length.
    """
    if not 0 <= index < count:
        raise ProtocolError(f"leaf {index} of {count}")
    found = leaf_hash(data)
    last, rest = count - 1, iter(path)
    try:
        while last:
            if index % 2:
                found = _node(next(rest), found)
            elif index < last:
                found = _node(found, next(rest))
            index, last = index // 2, last // 2
    except StopIteration:
        raise ProtocolError("a path that ends below the root") from None
    if next(rest, None) is not None:
        raise ProtocolError("a path that goes on beyond the root")
    return found


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
