"""The byte strings that protocol 4 feeds to its cryptography, and the arithmetic of segments."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import contexts
from protocol.contexts import (
    MAX_CONTENT_BYTES,
    SEGMENT_BYTES,
    Direction,
    associated_data,
    challenge_context,
    check_segment_size,
    content_key_info,
    segment_count,
    segment_nonce,
    segment_span,
)
from protocol.errors import BadSegment
from tests.protocol import strategies4
from tests.protocol.samples4 import HASH, HASH_HEX, ID, ID_HEX

OTHER_ID = b"\xf0" + b"\xdd" * 15
OTHER_ID_HEX = "f0" + "dd" * 15
LAST = 2**43 - 1


def test_the_sizes_are_those_of_the_specification() -> None:
    assert contexts.SEGMENT_BYTES == 1048576
    assert contexts.SMALL_FILE_BYTES == 524_288
    assert contexts.TAG_BYTES == 16
    assert contexts.MAX_CONTENT_BYTES == 9223372036854775807
    assert contexts.UPLOAD_ID_BYTES == 16
    assert contexts.SALT_BYTES == contexts.SECRET_BYTES == contexts.KEY_BYTES == 32
    assert contexts.PROOF_BYTES == contexts.FINGERPRINT_BYTES == 32
    assert contexts.NONCE_BYTES == 12


def test_the_challenge_context_is_these_bytes() -> None:
    expected = "6566742f3420636f6e6e65637400" + HASH_HEX + ID_HEX
    assert challenge_context(HASH, ID).hex() == expected


@pytest.mark.parametrize(
    ("direction", "byte"), [(Direction.TO_SERVER, "01"), (Direction.TO_CLIENT, "02")]
)
def test_the_key_info_is_these_bytes(direction: Direction, byte: str) -> None:
    expected = "6566742f3420636f6e74656e7400" + byte + ID_HEX + OTHER_ID_HEX
    assert content_key_info(direction, ID, OTHER_ID).hex() == expected


@pytest.mark.parametrize(
    ("index", "final", "expected"),
    [
        (0, False, "0000000000000000000000" + "00"),
        (0, True, "0000000000000000000000" + "01"),
        (1, False, "0000000000000000000001" + "00"),
        (0x010203, True, "0000000000000000010203" + "01"),
        (LAST, True, "000000000007ffffffffff" + "01"),
    ],
)
def test_the_nonce_is_these_bytes(index: int, final: bool, expected: str) -> None:
    assert segment_nonce(index, final=final).hex() == expected


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, "0000000000000000"),
        (0x010203, "0302010000000000"),
        (LAST, "ffffffffff070000"),
    ],
)
def test_the_associated_data_is_these_bytes(index: int, expected: str) -> None:
    assert associated_data(ID, index).hex() == ID_HEX + expected


@pytest.mark.parametrize(
    "call",
    [
        lambda: challenge_context(HASH[:31], ID),
        lambda: challenge_context(HASH, ID + b"x"),
        lambda: content_key_info(Direction.TO_SERVER, b"", ID),
        lambda: content_key_info(Direction.TO_SERVER, ID, HASH),
        lambda: segment_nonce(-1, final=False),
        lambda: segment_nonce(LAST + 1, final=False),
        lambda: associated_data(ID[:15], 0),
        lambda: associated_data(ID, -1),
        lambda: associated_data(ID, LAST + 1),
        lambda: segment_count(-1),
        lambda: segment_count(MAX_CONTENT_BYTES + 1),
        lambda: segment_span(-1, 5),
        lambda: segment_span(1, SEGMENT_BYTES),
        lambda: segment_span(1, 0),
        lambda: segment_span(0, -1),
    ],
)
def test_sizes_and_numbers_that_cannot_be_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        call()


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (0, 1),
        (1, 1),
        (1048575, 1),
        (1048576, 1),
        (1048577, 2),
        (2097152, 2),
        (2097153, 3),
        (MAX_CONTENT_BYTES, 2**43),
    ],
)
def test_content_has_so_many_segments(size: int, count: int) -> None:
    assert segment_count(size) == count


@pytest.mark.parametrize(
    ("index", "size", "span"),
    [
        (0, 0, (0, 0)),
        (0, 1, (0, 1)),
        (0, 1048576, (0, 1048576)),
        (0, 1048577, (0, 1048576)),
        (1, 1048577, (1048576, 1048577)),
        (1, 2097152, (1048576, 2097152)),
        (LAST, MAX_CONTENT_BYTES, (MAX_CONTENT_BYTES - 1048575, MAX_CONTENT_BYTES)),
    ],
)
def test_a_segment_spans_these_bytes(index: int, size: int, span: tuple[int, int]) -> None:
    assert segment_span(index, size) == span


@strategies4.some
@given(st.integers(0, 9 * 1048576))
def test_the_spans_cover_the_content_once(size: int) -> None:
    spans = [segment_span(index, size) for index in range(segment_count(size))]
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == size
    for index, (start, end) in enumerate(spans):
        check_segment_size(index, end - start + 16, final=index == len(spans) - 1)


@pytest.mark.parametrize(
    ("index", "plain", "final"),
    [
        (0, 0, True),
        (0, 1, True),
        (1, 1, True),
        (1, SEGMENT_BYTES, True),
        (7, SEGMENT_BYTES, False),
        (LAST - 1, SEGMENT_BYTES, False),
        (LAST, SEGMENT_BYTES - 1, True),
    ],
)
def test_a_segment_that_fits_its_place_is_accepted(index: int, plain: int, final: bool) -> None:
    check_segment_size(index, plain + 16, final=final)


@pytest.mark.parametrize(
    ("index", "plain", "final", "why"),
    [
        (0, -1, True, "segment 0, the final one, holds -1 bytes"),
        (1, 0, True, "segment 1, the final one, holds 0 bytes"),
        (0, 0, False, "segment 0, not the final one, holds 0 bytes"),
        (3, SEGMENT_BYTES - 1, False, "segment 3, not the final one, holds 1048575 bytes"),
        (0, SEGMENT_BYTES + 1, False, "segment 0, not the final one, holds 1048577 bytes"),
        (0, SEGMENT_BYTES + 1, True, "segment 0, the final one, holds 1048577 bytes"),
        (LAST, SEGMENT_BYTES, True, f"segment {LAST} ends beyond the largest content"),
        (LAST, SEGMENT_BYTES, False, f"segment {LAST} ends beyond the largest content"),
        (2**64 - 1, 5, True, f"segment {2**64 - 1} ends beyond the largest content"),
    ],
)
def test_a_segment_that_does_not_fit_its_place_is_refused(
    index: int, plain: int, final: bool, why: str
) -> None:
    with pytest.raises(BadSegment, match=f"^{why}$"):
        check_segment_size(index, plain + 16, final=final)
