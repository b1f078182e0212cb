"""The generations' table against the specification's, and whole messages byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolError
from protocol.generations import (
    GENERATION_2023A,
    GENERATION_2023B,
    GENERATION_2024A,
    GENERATION_2024C,
    GENERATIONS,
    NO_CLIENT_ID,
    Generation,
    generations_by_code,
)
from protocol.messages3 import GeneralError, Register, Request, Response, SendFile, SendPacket
from tests.protocol import samples, strategies
from tests.protocol.samples import CLIENT_ID, CLIENT_ID_HEX
from tests.protocol.specification import CODE_HEX, COLUMNS, NAMES, Column

every_column = pytest.mark.parametrize("column", COLUMNS, ids=str)
# A payload's size as its four bytes, written by hand.
SIZE_HEX = {
    0: "00000000",
    16: "10000000",
    17: "11000000",
    144: "90000000",
    255: "ff000000",
    259: "03010000",
    267: "0b010000",
    279: "17010000",
    415: "9f010000",
}
CODES_2023A = (1100, 1101, 1102, 1103, 1104, 1105, 1106)
CODES_SHARED = (1025, 1026, 1027, 1028, 1029, 1030, 1031)
CODES_2024C = (825, 826, 827, 828, 900, 901, 902)


def test_there_are_four_generations_from_old_to_new() -> None:
    assert [*GENERATIONS] == [*NAMES]


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("2023a", GENERATION_2023A),
        ("2023b", GENERATION_2023B),
        ("2024a", GENERATION_2024A),
        ("2024c", GENERATION_2024C),
    ],
)
def test_a_generation_is_found_under_its_name(name: str, generation: Generation) -> None:
    assert (GENERATIONS[name], generation.name) == (generation, name)


@every_column
def test_a_generation_has_the_specified_request_codes(column: Column) -> None:
    assert GENERATIONS[column.name].requests == column.requests


@every_column
def test_a_generation_has_the_specified_response_codes(column: Column) -> None:
    assert GENERATIONS[column.name].responses == column.responses


@every_column
def test_a_generation_has_the_specified_aes_key(column: Column) -> None:
    assert GENERATIONS[column.name].aes_key_bytes * 8 == column.aes_key_bits


@every_column
def test_a_generation_sends_files_as_specified(column: Column) -> None:
    assert GENERATIONS[column.name].in_packets is column.in_packets


@every_column
def test_a_generation_has_the_specified_port(column: Column) -> None:
    assert GENERATIONS[column.name].default_port == column.default_port


@pytest.mark.parametrize("shared", [GENERATION_2023B, GENERATION_2024A], ids=lambda g: g.name)
def test_a_server_tells_the_generations_apart_by_code(shared: Generation) -> None:
    assert generations_by_code(shared) == (
        dict.fromkeys(CODES_2023A, GENERATION_2023A)
        | dict.fromkeys(CODES_SHARED, shared)
        | dict.fromkeys(CODES_2024C, GENERATION_2024C)
    )


@pytest.mark.parametrize(
    "table",
    [
        GENERATIONS,
        generations_by_code(GENERATION_2024A),
        GENERATION_2023A.requests,
        GENERATION_2023A.responses,
    ],
    ids=["generations", "by code", "requests", "responses"],
)
def test_a_table_does_not_change(table: object) -> None:
    with pytest.raises(TypeError):
        table[1100] = None  # type: ignore[index]


def test_a_generation_does_not_change() -> None:
    with pytest.raises(AttributeError):
        GENERATION_2023A.default_port = 1  # type: ignore[misc]


def test_no_client_id_is_16_zeros() -> None:
    assert NO_CLIENT_ID.hex() == "00000000000000000000000000000000"


@pytest.mark.parametrize(
    ("column", "code", "request_", "payload"),
    [
        (column, code, sample, payload)
        for column in COLUMNS
        for code, message in column.requests.items()
        for sample, payload in samples.REQUESTS
        if type(sample) is message
    ],
    ids=samples.label,
)
def test_a_request_is_these_bytes(
    column: Column, code: int, request_: Request, payload: str
) -> None:
    golden = CLIENT_ID_HEX + "03" + CODE_HEX[code] + SIZE_HEX[len(payload) // 2] + payload
    assert GENERATIONS[column.name].pack_request(CLIENT_ID, request_).hex() == golden


@pytest.mark.parametrize(
    ("column", "code", "response", "payload"),
    [
        (column, code, sample, payload)
        for column in COLUMNS
        for code, message in column.responses.items()
        for sample, payload in samples.RESPONSES
        if type(sample) is message
    ],
    ids=samples.label,
)
def test_a_response_is_these_bytes(
    column: Column, code: int, response: Response, payload: str
) -> None:
    golden = "03" + CODE_HEX[code] + SIZE_HEX[len(payload) // 2] + payload
    assert GENERATIONS[column.name].pack_response(response).hex() == golden


@pytest.mark.parametrize(
    ("generation", "request_", "content_bytes", "size_hex"),
    [
        (GENERATION_2023A, SendFile(0, "a"), 0, "03010000"),
        (GENERATION_2023A, SendFile(1, "a"), 1, "04010000"),
        (GENERATION_2023B, SendFile(64, "a"), 64, "43010000"),
        (GENERATION_2023B, SendFile(0xFFFFFEFC, "a"), 0xFFFFFEFC, "ffffffff"),
        (GENERATION_2024A, SendPacket(80, 71, 1, 3, "a"), 32, "2b010000"),
        (GENERATION_2024C, SendPacket(80, 71, 3, 3, "a"), 16, "1b010000"),
    ],
)
def test_a_requests_size_covers_the_content(
    generation: Generation, request_: Request, content_bytes: int, size_hex: str
) -> None:
    packed = generation.pack_request(CLIENT_ID, request_, content_bytes)
    assert packed[19:23].hex() == size_hex


@pytest.mark.parametrize("content_bytes", [0, 1000])
def test_the_content_itself_is_left_to_the_sender(content_bytes: int) -> None:
    packed = GENERATION_2023A.pack_request(CLIENT_ID, SendFile(1000, "a"), content_bytes)
    assert packed[23:] == SendFile(1000, "a").pack()


def test_a_file_that_the_payload_size_cannot_count_is_not_sent() -> None:
    with pytest.raises(ProtocolError, match="does not fit"):
        GENERATION_2023A.pack_request(CLIENT_ID, SendFile(0xFFFFFEFD, "a"), 0xFFFFFEFD)


@pytest.mark.parametrize("generation", [GENERATION_2023A, GENERATION_2023B])
def test_a_generation_without_packets_sends_none(generation: Generation) -> None:
    with pytest.raises(
        ProtocolError, match=f"^generation {generation.name} has no SendPacket message$"
    ):
        generation.pack_request(CLIENT_ID, SendPacket(1, 1, 1, 1, "a"))


@pytest.mark.parametrize("generation", [GENERATION_2024A, GENERATION_2024C])
def test_a_generation_of_packets_sends_no_whole_file(generation: Generation) -> None:
    with pytest.raises(
        ProtocolError, match=f"^generation {generation.name} has no SendFile message$"
    ):
        generation.pack_request(CLIENT_ID, SendFile(1, "a"))


def test_a_request_is_no_response() -> None:
    with pytest.raises(ProtocolError, match="generation 2023a has no Register message"):
        GENERATION_2023A.pack_response(Register("a"))  # type: ignore[arg-type]


def test_a_response_is_no_request() -> None:
    with pytest.raises(ProtocolError, match="generation 2023a has no GeneralError message"):
        GENERATION_2023A.pack_request(CLIENT_ID, GeneralError())  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_request_with_a_client_id_of_another_length_is_not_sent(size: int) -> None:
    with pytest.raises(ProtocolError, match=f"client id of {size} bytes"):
        GENERATION_2023A.pack_request(bytes(size), Register("a"))


@strategies.some
@given(strategies.requests, st.sampled_from(COLUMNS))
def test_the_announced_size_is_what_follows(request_: Request, column: Column) -> None:
    generation = GENERATIONS[column.name]
    if type(request_) in column.requests.values():
        packed = generation.pack_request(CLIENT_ID, request_)
        assert int.from_bytes(packed[19:23], "little") == len(packed) - 23
