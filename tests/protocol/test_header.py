"""The headers that open every request and response."""

import pytest
from hypothesis import given

from protocol.errors import ProtocolError
from protocol.header import (
    CLIENT_ID_BYTES,
    VERSION_3,
    RequestHeader,
    ResponseHeader,
    check_length,
)
from tests.protocol import strategies
from tests.protocol.samples import CLIENT_ID, CLIENT_ID_HEX

REQUEST = RequestHeader(CLIENT_ID, 0x0102, 0x03040506)
REQUEST_HEX = CLIENT_ID_HEX + "03" + "0201" + "06050403"
RESPONSE = ResponseHeader(0xF1F2, 0xF3F4F5F6)
RESPONSE_HEX = "03" + "f2f1" + "f6f5f4f3"


def test_a_client_id_is_16_bytes_and_the_version_3() -> None:
    assert (CLIENT_ID_BYTES, VERSION_3) == (16, 3)


@pytest.mark.parametrize(
    ("header", "golden"),
    [
        (REQUEST, REQUEST_HEX),
        (RequestHeader(bytes(16), 0, 0), "00" * 16 + "03" + "0000" + "00000000"),
        (RequestHeader(b"\xff" * 16, 0xFFFF, 2**32 - 1), "ff" * 16 + "03" + "ffff" + "ffffffff"),
        (RESPONSE, RESPONSE_HEX),
        (ResponseHeader(0, 0), "03" + "0000" + "00000000"),
        (ResponseHeader(0xFFFF, 2**32 - 1), "03" + "ffff" + "ffffffff"),
    ],
)
def test_a_header_packs_to_these_bytes(header: RequestHeader | ResponseHeader, golden: str) -> None:
    assert header.pack().hex() == golden


def test_these_bytes_unpack_to_a_request_header() -> None:
    assert RequestHeader.unpack(bytes.fromhex(REQUEST_HEX)) == REQUEST


def test_these_bytes_unpack_to_a_response_header() -> None:
    assert ResponseHeader.unpack(bytes.fromhex(RESPONSE_HEX)) == RESPONSE


@strategies.some
@given(strategies.client_ids, strategies.uint16s, strategies.uint32s)
def test_a_request_header_survives_its_bytes(client_id: bytes, code: int, size: int) -> None:
    header = RequestHeader(client_id, code, size)
    assert RequestHeader.unpack(header.pack()) == header


@strategies.some
@given(strategies.uint16s, strategies.uint32s)
def test_a_response_header_survives_its_bytes(code: int, size: int) -> None:
    header = ResponseHeader(code, size)
    assert ResponseHeader.unpack(header.pack()) == header


@pytest.mark.parametrize("size", [0, 1, 22, 24, 46])
def test_a_request_header_of_another_length_is_refused(size: int) -> None:
    data = bytes.fromhex(REQUEST_HEX * 2)[:size]
    with pytest.raises(
        ProtocolError, match=rf"^request header of {size} bytes where 23 are expected$"
    ):
        RequestHeader.unpack(data)


@pytest.mark.parametrize("size", [0, 1, 6, 8, 14])
def test_a_response_header_of_another_length_is_refused(size: int) -> None:
    data = bytes.fromhex(RESPONSE_HEX * 2)[:size]
    with pytest.raises(
        ProtocolError, match=rf"^response header of {size} bytes where 7 are expected$"
    ):
        ResponseHeader.unpack(data)


@pytest.mark.parametrize("version", [version for version in range(256) if version != 3])
def test_a_request_of_another_version_is_refused(version: int) -> None:
    data = CLIENT_ID + bytes([version]) + bytes.fromhex("4c04ff000000")
    with pytest.raises(ProtocolError, match=rf"^protocol version {version} where 3 is expected$"):
        RequestHeader.unpack(data)


@pytest.mark.parametrize("version", [version for version in range(256) if version != 3])
def test_a_response_of_another_version_is_refused(version: int) -> None:
    data = bytes([version]) + bytes.fromhex("340810000000")
    with pytest.raises(ProtocolError, match=rf"^protocol version {version} where 3 is expected$"):
        ResponseHeader.unpack(data)


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_client_id_of_another_length_is_not_sent(size: int) -> None:
    with pytest.raises(ProtocolError, match=rf"^client id of {size} bytes where 16 are expected$"):
        RequestHeader(bytes(size), 1100, 255).pack()


@pytest.mark.parametrize(
    "header",
    [
        RequestHeader(CLIENT_ID, 2**16, 0),
        RequestHeader(CLIENT_ID, -1, 0),
        RequestHeader(CLIENT_ID, 0, 2**32),
        RequestHeader(CLIENT_ID, 0, -1),
        ResponseHeader(2**16, 0),
        ResponseHeader(-1, 0),
        ResponseHeader(0, 2**32),
        ResponseHeader(0, -1),
    ],
)
def test_a_number_beyond_its_field_is_not_sent(header: RequestHeader | ResponseHeader) -> None:
    with pytest.raises(ProtocolError) as refusal:
        header.pack()
    assert str(refusal.value) == f"a number does not fit its field: {refusal.value.__cause__}"


@pytest.mark.parametrize("header", [REQUEST, RESPONSE])
def test_a_header_does_not_change(header: RequestHeader | ResponseHeader) -> None:
    with pytest.raises(AttributeError):
        header.code = 1  # type: ignore[misc]


@pytest.mark.parametrize("header", [REQUEST, RESPONSE])
def test_a_header_holds_nothing_but_its_fields(header: RequestHeader | ResponseHeader) -> None:
    assert not hasattr(header, "__dict__")


def test_the_expected_length_passes() -> None:
    check_length("anything", b"12345", 5)
