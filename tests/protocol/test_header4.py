"""The header of protocol 4's messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.header import MAX_PAYLOAD_BYTES, MessageHeader
from tests.protocol import strategies4

GOLDEN = [
    (MessageHeader(1, 0, 0), "04" + "0100" + "00000000" + "00000000"),
    (MessageHeader(0x0102, 0x03040506, 0x0708090A), "04" + "0201" + "06050403" + "0a090807"),
    (MessageHeader(33023, 0xFFFFFFFF, 1049600), "04" + "ff80" + "ffffffff" + "00041000"),
    (MessageHeader(0xFFFF, 1, 0xFFFFFFFF), "04" + "ffff" + "01000000" + "ffffffff"),
]


@pytest.mark.parametrize(("header", "data"), GOLDEN)
def test_a_header_is_these_eleven_bytes(header: MessageHeader, data: str) -> None:
    assert header.pack().hex() == data
    assert MessageHeader.unpack(bytes.fromhex(data)) == header
    assert MessageHeader.unpack(memoryview(bytes.fromhex(data))) == header


def test_the_largest_payload_is_a_segment_and_a_kibibyte() -> None:
    assert MAX_PAYLOAD_BYTES == 1049600


@strategies4.some
@given(st.integers(0, 2**16 - 1), strategies4.uint32s, strategies4.uint32s)
def test_what_was_packed_is_unpacked(code: int, request_id: int, size: int) -> None:
    header = MessageHeader(code, request_id, size)
    assert MessageHeader.unpack(header.pack()) == header


@pytest.mark.parametrize("version", [0, 3, 5, 0x16, 255])
def test_another_version_is_refused(version: int) -> None:
    with pytest.raises(ProtocolError, match=f"^protocol version {version} where 4 is expected$"):
        MessageHeader.unpack(bytes((version,)) + bytes(10))


@pytest.mark.parametrize("size", [0, 10, 12])
def test_another_length_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError, match=f"message header of {size} bytes where 11"):
        MessageHeader.unpack(b"\x04" + bytes(max(size - 1, 0)) if size else b"")


@pytest.mark.parametrize(
    "header",
    [MessageHeader(-1, 0, 0), MessageHeader(65536, 0, 0), MessageHeader(0, 2**32, 0)],
)
def test_a_number_that_does_not_fit_is_refused(header: MessageHeader) -> None:
    with pytest.raises(ProtocolError, match="does not fit its field"):
        header.pack()
