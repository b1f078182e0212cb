"""The signed part of a receipt."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.receipts import ReceiptBody, signed_bytes
from tests.protocol import strategies4
from tests.protocol.samples4 import HASH, HASH_HEX, ID, ID_HEX, replace

KEY = b"\x31" + b"\x32" * 31
UPLOAD = b"\xf0" + b"\xdd" * 15
BODY = ReceiptBody(KEY, ID, UPLOAD, 0x0102030405060708, -2, HASH, "Al", "a/b.txt")
BODY_HEX = (
    "4546542072656365697074203100"  # EFT receipt 1, NUL
    "31" + "32" * 31 + ID_HEX + "f0" + "dd" * 15 + "0807060504030201" + "feffffffffffffff"
    "" + HASH_HEX + "0200416c" + "0700612f622e747874"
)


def test_a_receipt_body_is_these_bytes() -> None:
    assert BODY.pack().hex() == BODY_HEX
    assert ReceiptBody.unpack(bytes.fromhex(BODY_HEX)) == BODY


def test_a_signature_covers_the_count_and_the_root_and_says_what_it_is_for() -> None:
    label = "6566742f3420726563656970747300"  # eft/4 receipts, NUL
    assert signed_bytes(0x0102, HASH).hex() == label + "0201" + HASH_HEX
    assert signed_bytes(65535, HASH).hex() == label + "ffff" + HASH_HEX


@strategies4.some
@given(
    st.builds(
        ReceiptBody,
        strategies4.hashes,
        strategies4.ids,
        strategies4.ids,
        strategies4.sizes,
        strategies4.int64s,
        strategies4.hashes,
        strategies4.client_names,
        strategies4.texts,
    )
)
def test_what_was_packed_is_unpacked(body: ReceiptBody) -> None:
    assert ReceiptBody.unpack(body.pack()) == body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (BODY_HEX.replace("3100", "3200", 1), "receipt_key: .* is expected"),
        (BODY_HEX[:-2], "file_name: 7 bytes where 6 are left"),
        (BODY_HEX + "00", "1 bytes too many"),
        ("", "ReceiptBody of 0 bytes"),
        (BODY_HEX.replace("0200416c", "0000"), "client_name: 0 is not within 1 and 255"),
        (BODY_HEX.replace("04030201", "04030281"), "size: .* is not within 0 and"),
        (BODY_HEX + "00" * 65535, "ReceiptBody of 656.. bytes where 1.. to 65535"),
    ],
)
def test_a_body_that_breaks_the_layout_is_refused(data: str, why: str) -> None:
    with pytest.raises(ProtocolError, match=why):
        ReceiptBody.unpack(bytes.fromhex(data))


@pytest.mark.parametrize(
    "body",
    [
        replace(BODY, receipt_key=KEY[1:]),
        replace(BODY, client_name=""),
        replace(BODY, client_name="x" * 256),
        replace(BODY, size=-1),
        replace(BODY, file_name="\0"),
        replace(BODY, file_name="x" * 65500),
    ],
)
def test_a_body_that_could_not_be_read_is_not_packed(body: ReceiptBody) -> None:
    with pytest.raises(ProtocolError):
        body.pack()


@strategies4.many
@given(st.binary(max_size=300), st.integers(0, 200), st.integers(1, 255))
@example(b"", 0, 1)
def test_hostile_bytes_raise_nothing_else(noise: bytes, place: int, change: int) -> None:
    good = bytearray.fromhex(BODY_HEX)
    good[place % len(good)] ^= change
    for data in (noise, bytes(good), bytes(good) + noise, bytes(good[: place % len(good)])):
        try:
            body = ReceiptBody.unpack(data)
        except ProtocolError:
            continue
        assert body.pack() == data


def test_a_body_is_frozen_and_has_these_sizes() -> None:
    with pytest.raises(AttributeError):
        BODY.size = 1  # type: ignore[misc]
    assert (ReceiptBody.LAYOUT.min_bytes, ReceiptBody.LAYOUT.max_bytes) == (131, 65535)
