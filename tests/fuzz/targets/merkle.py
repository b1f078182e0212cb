"""Merkle trees: a path leads one leaf to the root, and nothing else there."""

from collections.abc import Iterable

from protocol.errors import ProtocolError
from protocol.merkle import HASH_BYTES, MerkleTree, root_from
from tests.fuzz.choices import Choices
from tests.fuzz.target import Target, must


def _run(data: bytes) -> None:
    choices = Choices(data)
    leaves = [choices.take(choices.byte() % 8) for _ in range(1 + choices.byte() % 20)]
    tree = MerkleTree(leaves)
    index = choices.byte() % len(leaves)
    path = tree.path(index)
    must(
        root_from(leaves[index], index, len(leaves), path) == tree.root, "a path leads to the root"
    )
    forged = list(path)
    for _ in range(choices.byte() % 3):
        place = choices.byte() % (len(forged) + 1)
        forged[place : place + choices.byte() % 2] = [choices.exactly(HASH_BYTES)]
    leaf = choices.some() if choices.byte() % 2 else leaves[index]
    place = choices.byte() % 40
    count = len(leaves)  # it is signed too
    try:
        root = root_from(leaf, place, count, forged)
    except ProtocolError:
        return
    must(0 <= place < count, "only a leaf that is in the tree has a path")
    same = leaf == leaves[place] if place < len(leaves) else False
    must(root != tree.root or same, "nothing but the leaf itself leads to the root")


def _seeds() -> Iterable[bytes]:
    yield bytes(30)
    for count in (0, 1, 2, 6, 19):
        yield bytes((count,)) + b"".join(bytes((2, number, 7)) for number in range(20)) + bytes(9)


TARGET = Target("merkle", "protocol/merkle.py", _run, _seeds, max_bytes=300)
