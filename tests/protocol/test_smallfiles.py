"""The tables of *put* and *outcomes*: every limit, and exactly these bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.merkle import MerkleTree
from protocol.messages4 import Policy, Reason, Refused, Stored
from protocol.receipts import ReceiptBodies, ReceiptBody, pack_receipts
from protocol.smallfiles import (
    Outcome,
    SmallFile,
    pack_file,
    pack_outcomes,
    sealed_bytes,
    unpack_files,
    unpack_outcomes,
)
from tests.protocol import strategies4
from tests.protocol.samples4 import HASH, HASH_HEX, ID, ID_HEX

SIGNATURE = bytes(range(64))
FILE = SmallFile(ID, 5, -2, 0o644, Policy.IF_OLDER, HASH, "a/b.txt")
FILE_HEX = ID_HEX + "05000000" + "feffffffffffffff" + "a401" + "01" + HASH_HEX
FILE_HEX += "0700" + b"a/b.txt".hex()
STORED = Stored(b"\x09\x08", 1, 2, (HASH,), SIGNATURE)
REFUSED = Refused(Reason.QUOTA, 7, "full")

small_files = st.builds(
    SmallFile,
    strategies4.ids,
    st.integers(0, 524_288),
    strategies4.int64s,
    strategies4.modes,
    strategies4.policies,
    strategies4.hashes,
    strategies4.texts,
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.none(),
    st.builds(Stored, strategies4.blobs, st.just(0), st.just(1), st.just(()), st.just(SIGNATURE)),
    st.builds(
        Refused,
        st.sampled_from([reason for reason in Reason if not reason.closes]),
        strategies4.uint32s,
        strategies4.texts,
    ),
)


def test_a_table_is_these_bytes() -> None:
    assert pack_file(FILE).hex() == FILE_HEX
    assert unpack_files(bytes.fromhex(FILE_HEX * 2)) == [FILE, FILE]
    assert sealed_bytes([FILE, FILE]) == 26


@strategies4.some
@given(st.lists(small_files, min_size=1, max_size=20))
def test_files_survive_a_table(files: list[SmallFile]) -> None:
    assert unpack_files(b"".join(map(pack_file, files))) == files


@pytest.mark.parametrize(
    "changed",
    [
        {"upload_id": ID[1:]},
        {"sha256": HASH + b"x"},
        {"size": 524_289},
        {"size": -1},
        {"modified": 2**63},
        {"mode": 0o10000},
        {"name": "a\0b"},
        {"name": "\ud800"},
        {"name": "x" * 65_536},
    ],
)
def test_a_file_outside_its_limits_is_not_packed(changed: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        pack_file(FILE._replace(**changed))  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize(
    "table",
    [
        b"",
        bytes.fromhex(FILE_HEX)[:-1],
        bytes.fromhex(FILE_HEX) + b"x",
        bytes.fromhex(FILE_HEX.replace("05000000", "01000800")),
        bytes.fromhex(FILE_HEX.replace("a40101", "001001")),
        bytes.fromhex(FILE_HEX.replace("a40101", "a40103")),
        bytes.fromhex(FILE_HEX)[:-1] + b"\0",
        bytes.fromhex(FILE_HEX)[:-1] + b"\xff",
        bytes.fromhex(FILE_HEX) * 257,
        *(bytes.fromhex(FILE_HEX)[:size] for size in (1, 16, 64)),
    ],
)
def test_a_table_outside_its_limits_is_refused(table: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack_files(table)


def test_the_most_files_fit_a_table() -> None:
    assert len(unpack_files(bytes.fromhex(FILE_HEX) * 256)) == 256


def test_outcomes_are_these_bytes() -> None:
    packed = STORED.pack()
    told: list[Outcome] = [None, STORED, REFUSED]
    table = b"\0" + b"\1" + struct.pack("<H", len(packed)) + packed + b"\2" + REFUSED.pack()
    assert pack_outcomes(told) == table
    assert unpack_outcomes(table, 3) == told


@strategies4.some
@given(st.lists(outcomes, min_size=1, max_size=20))
def test_outcomes_survive_a_table(told: list[Outcome]) -> None:
    assert list(unpack_outcomes(pack_outcomes(told), len(told))) == told


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"\0",
        b"\0\0\0",
        b"\0\3",
        b"\0\1\0\0",
        b"\0\1" + struct.pack("<H", len(STORED.pack()) + 1) + STORED.pack(),
        b"\0\1" + struct.pack("<H", len(STORED.pack()) + 1) + STORED.pack() + b"x",
        b"\0\2" + REFUSED.pack()[:-1],
        b"\0\2" + REFUSED.pack() + b"\0",
        b"\0\2" + struct.pack("<HIH", 99, 0, 0),
        b"\0\2" + Refused(Reason.PROTOCOL, 0, "").pack(),
    ],
)
def test_outcomes_that_are_not_those_of_two_files_are_refused(table: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack_outcomes(table, 2)


@strategies4.some
@given(st.lists(small_files, min_size=1, max_size=20), strategies4.client_names)
def test_receipts_packed_together_are_those_packed_one_by_one(
    files: list[SmallFile], client_name: str
) -> None:
    bodies = ReceiptBodies(HASH, ID, client_name)
    packed = [bodies.pack(file, -7) for file in files]
    assert packed == [
        ReceiptBody(
            HASH, ID, file.upload_id, file.size, -7, file.sha256, client_name, file.name
        ).pack()
        for file in files
    ]
    tree = MerkleTree(packed)
    assert pack_receipts(packed, tree, SIGNATURE) == [
        Stored(body, index, len(packed), tree.path(index), SIGNATURE).pack()
        for index, body in enumerate(packed)
    ]
