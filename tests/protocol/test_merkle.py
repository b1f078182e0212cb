"""Merkle trees of receipts against RFC 9162, computed as its text says, and against known roots."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.merkle import MerkleTree, leaf_hash, root_from
from protocol.receipts import signed_bytes
from tests.peer4 import merkle
from tests.protocol import strategies4

# The leaves and roots that implementations of RFC 6962 and RFC 9162 test themselves with.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LARGEST = 65_535

hashes = strategies4.hashes
# Bodies of receipts are never the same twice: each names its upload.
bodies = st.lists(st.binary(max_size=40), min_size=1, max_size=70, unique=True)


def made(count: int) -> list[bytes]:
    return [b"receipt %d" % number for number in range(count)]


@st.composite
def proven(draw: st.DrawFn, least: int = 1) -> tuple[list[bytes], int]:
    """The leaves of a tree, and the index of one of them."""
    leaves = draw(bodies.filter(lambda leaves: len(leaves) >= least))
    return leaves, draw(st.integers(0, len(leaves) - 1))


def leads_to_the_root(
    root: bytes, data: bytes, index: int, count: int, path: tuple[bytes, ...]
) -> bool:
    """What a signature over this tree would say of such a receipt."""
    try:
        return root_from(data, index, count, path) == root
    except ProtocolError:
        return False


@pytest.mark.parametrize("count", range(1, 9))
def test_the_reference_roots_of_certificate_transparency(count: int) -> None:
    assert MerkleTree(CT_LEAVES[:count]).root.hex() == CT_ROOTS[count - 1]
    assert merkle.root(CT_LEAVES[:count]).hex() == CT_ROOTS[count - 1]


def test_a_leaf_is_hashed_behind_a_zero_and_a_pair_behind_a_one() -> None:
    assert leaf_hash(b"ab") == hashlib.sha256(b"\0ab").digest()
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert MerkleTree([b"a", b"b"]).root == hashlib.sha256(b"\1" + left + right).digest()


def test_a_tree_of_one_leaf_is_that_leaf_and_its_path_is_empty() -> None:
    tree = MerkleTree([b"only"])
    assert tree.root == leaf_hash(b"only")
    assert tree.path(0) == ()
    assert root_from(b"only", 0, 1, ()) == tree.root


def test_there_is_no_tree_without_leaves() -> None:
    with pytest.raises(ValueError, match="without leaves"):
        MerkleTree([])


@pytest.mark.parametrize("count", range(1, 71))
def test_every_leaf_of_every_tree_leads_to_its_root(count: int) -> None:
    leaves = made(count)
    tree = MerkleTree(leaves)
    assert tree.root == merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        path = tree.path(index)
        assert list(path) == merkle.path(index, leaves)
        assert root_from(leaf, index, count, path) == tree.root
        assert merkle.root_by(leaf, index, count, path) == tree.root
    assert tree.paths() == [b"".join(tree.path(index)) for index in range(count)]


@strategies4.many
@given(proven())
def test_a_tree_is_what_the_recursive_definition_gives(tree: tuple[list[bytes], int]) -> None:
    leaves, index = tree
    built = MerkleTree(leaves)
    assert built.root == merkle.root(leaves)
    assert list(built.path(index)) == merkle.path(index, leaves)
    assert root_from(leaves[index], index, len(leaves), built.path(index)) == built.root


@strategies4.many
@given(proven(), st.binary(max_size=40))
def test_other_data_does_not_lead_to_the_root(tree: tuple[list[bytes], int], other: bytes) -> None:
    leaves, index = tree
    built = MerkleTree(leaves)
    reached = leads_to_the_root(built.root, other, index, len(leaves), built.path(index))
    assert reached == (other == leaves[index])


@strategies4.many
@given(proven(least=2), st.data())
def test_data_does_not_lead_to_the_root_from_another_place(
    tree: tuple[list[bytes], int], data: st.DataObject
) -> None:
    leaves, index = tree
    built, count = MerkleTree(leaves), len(leaves)
    other = data.draw(st.integers(0, count + 1).filter(lambda other: other != index))
    assert not leads_to_the_root(built.root, leaves[index], other, count, built.path(index))
    if other < count:
        assert not leads_to_the_root(built.root, leaves[index], other, count, built.path(other))


@strategies4.many
@given(proven(), st.integers(1, LARGEST))
def test_a_signature_does_not_fit_another_count(tree: tuple[list[bytes], int], other: int) -> None:
    # The same path may lead to the same root in a tree of another size: the signature covers both.
    leaves, index = tree
    built, count = MerkleTree(leaves), len(leaves)
    try:
        root = root_from(leaves[index], index, other, built.path(index))
    except ProtocolError:
        assert other != count
        return
    fits = signed_bytes(other, root) == signed_bytes(count, built.root)
    assert fits == (other == count)


def test_a_count_is_signed_since_the_path_alone_does_not_tell() -> None:
    leaves = made(3)
    tree = MerkleTree(leaves)
    assert root_from(leaves[0], 0, 4, tree.path(0)) == tree.root
    assert signed_bytes(4, tree.root) != signed_bytes(3, tree.root)


@strategies4.many
@given(proven(least=2), st.data())
def test_a_path_with_another_step_does_not_lead_to_the_root(
    tree: tuple[list[bytes], int], data: st.DataObject
) -> None:
    leaves, index = tree
    built = MerkleTree(leaves)
    path = list(built.path(index))
    at = data.draw(st.integers(0, len(path) - 1))
    path[at] = data.draw(hashes.filter(lambda step: step != path[at]))
    assert not leads_to_the_root(built.root, leaves[index], index, len(leaves), tuple(path))


@strategies4.many
@given(proven(), st.data())
def test_a_path_of_another_length_is_refused(
    tree: tuple[list[bytes], int], data: st.DataObject
) -> None:
    leaves, index = tree
    path = MerkleTree(leaves).path(index)
    size = data.draw(st.integers(0, 16).filter(lambda size: size != len(path)))
    spare = data.draw(st.lists(hashes, min_size=16, max_size=16))
    for other in ((*path, *spare)[:size], (*spare, *path)[-size:] if size else ()):
        with pytest.raises(ProtocolError):
            root_from(leaves[index], index, len(leaves), other)


@strategies4.many
@given(
    st.binary(max_size=40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.lists(hashes, max_size=7),
)
def test_what_is_refused_is_what_the_rfc_fails(
    leaf: bytes, index: int, count: int, path: list[bytes]
) -> None:
    expected = merkle.root_by(leaf, index, count, path)
    if expected is None:
        with pytest.raises(ProtocolError):
            root_from(leaf, index, count, path)
    else:
        assert root_from(leaf, index, count, path) == expected


@pytest.mark.parametrize(
    ("index", "count", "steps"),
    [
        (0, 0, 0),
        (1, 1, 0),
        (-1, 1, 0),
        (-1, 2, 1),
        (LARGEST, LARGEST, 16),
        (0, 1, 1),
        (0, 2, 0),
        (0, 2, 2),
        (2, 3, 2),
        (0, 256, 7),
        (255, 256, 9),
        (256, 257, 2),
    ],
)
def test_a_place_that_is_not_in_the_tree_is_refused(index: int, count: int, steps: int) -> None:
    with pytest.raises(ProtocolError):
        root_from(b"leaf", index, count, (bytes(32),) * steps)


@pytest.mark.parametrize("count", [255, 256, 257, 4096, 32_769, LARGEST])
def test_large_trees(count: int) -> None:
    leaves = made(count)
    tree = MerkleTree(leaves)
    assert tree.root == merkle.root(leaves)
    for index in {0, 1, count // 2, count - 2, count - 1}:
        path = tree.path(index)
        assert len(path) <= 16
        assert root_from(leaves[index], index, count, path) == tree.root
    assert list(tree.path(count - 1)) == merkle.path(count - 1, leaves)


def test_a_pair_of_hashes_is_no_receipt() -> None:
    # Without the byte in front, whoever has a signed tree could show an inner node as a leaf.
    tree = MerkleTree(made(4))
    pair = leaf_hash(b"receipt 0") + leaf_hash(b"receipt 1")
    right = tree.path(0)[1]
    assert root_from(pair, 0, 2, (right,)) != tree.root
    assert root_from(b"\1" + pair, 0, 2, (right,)) != tree.root


def test_the_order_of_receipts_is_part_of_the_root() -> None:
    leaves = made(5)
    assert MerkleTree(leaves).root != MerkleTree(leaves[::-1]).root
