"""Merkle trees with SHA-256 as RFC 9162, section 2.1, writes them down.

Recursive, as its definitions are; nothing is kept, every hash is computed again. The product builds
its trees from the leaves upwards.
"""

import hashlib
from collections.abc import Sequence


def leaf(data: bytes) -> bytes:
    """The hash of one leaf (2.1.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """The hash of two hashes (2.1.1)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH (2.1.1) of at least one leaf."""
    if len(leaves) == 1:
        return leaf(leaves[0])
    k = _split(len(leaves))
    return node(root(leaves[:k]), root(leaves[k:]))


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH (2.1.3.1) of leaf `m`, counted from 0."""
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), root(leaves[k:])]
    return [*path(m - k, leaves[k:]), root(leaves[:k])]


def root_by(data: bytes, leaf_index: int, tree_size: int, proof: Sequence[bytes]) -> bytes | None:
    """Where the proof leads from the leaf `data`, step by step as 2.1.3.2 says; None is "fail"."""
    if leaf_index >= tree_size:
        return None
    fn, sn = leaf_index, tree_size - 1
    r = leaf(data)
    for p in proof:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    return r if sn == 0 else None


def _split(n: int) -> int:
    """The largest power of two below `n`."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k
