"""The decoder of responses: bytes in any pieces to messages, and hostile bytes to errors."""

from collections.abc import Callable
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.decoder import ResponseDecoder
from protocol.errors import ProtocolError
from protocol.generations import (
    GENERATION_2023A,
    GENERATIONS,
)
from protocol.messages3 import (
    GeneralError,
    Reconnected,
    Registered,
    Response,
)
from tests.protocol import samples, strategies
from tests.protocol.decoding import (
    ANSWERS,
    ANSWERS_WIRE,
    answers,
    answers_or_error,
    every_response_code,
    every_wrong_response,
    impossible_responses,
    mutations,
    response_header,
)
from tests.protocol.samples import CLIENT_ID
from tests.protocol.specification import (
    COLUMNS,
    Column,
)


class TestResponses:
    @every_response_code
    def test_every_code_is_decoded(self, column: Column, code: int) -> None:
        message = column.responses[code]
        response, payload = next(pair for pair in samples.RESPONSES if type(pair[0]) is message)
        wire = response_header(code, len(payload) // 2) + bytes.fromhex(payload)
        assert answers(ResponseDecoder(GENERATIONS[column.name]), [wire]) == [response]

    @strategies.some
    @given(st.lists(strategies.responses, max_size=5), st.sampled_from(COLUMNS), strategies.cuts)
    def test_any_pieces_give_the_same_responses(
        self, responses: list[Response], column: Column, cuts: list[int]
    ) -> None:
        generation = GENERATIONS[column.name]
        wire = b"".join(map(generation.pack_response, responses))
        assert answers(ResponseDecoder(generation), strategies.cut(wire, cuts)) == responses

    @pytest.mark.parametrize("size", [1, 2, 6, 7, 8, 16, 23, 1000, 10**6])
    def test_pieces_of_one_size_give_the_same_responses(self, size: int) -> None:
        pieces = [ANSWERS_WIRE[start : start + size] for start in range(0, len(ANSWERS_WIRE), size)]
        assert answers(ResponseDecoder(GENERATION_2023A), pieces) == ANSWERS

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytes_of_any_kind_are_decoded(
        self, kind: Callable[[bytes], bytes | bytearray | memoryview]
    ) -> None:
        assert list(ResponseDecoder(GENERATION_2023A).feed(kind(ANSWERS_WIRE))) == ANSWERS

    def test_nothing_gives_nothing(self) -> None:
        assert answers(ResponseDecoder(GENERATION_2023A), [b"", b""]) == []

    def test_every_prefix_gives_only_what_it_completes(self) -> None:
        ends = list(accumulate(len(GENERATION_2023A.pack_response(one)) for one in ANSWERS))
        for length in range(len(ANSWERS_WIRE)):
            found = answers(ResponseDecoder(GENERATION_2023A), [ANSWERS_WIRE[:length]])
            assert found == ANSWERS[: sum(end <= length for end in ends)]

    def test_truncation_is_told_from_a_clean_end_at_every_byte(self) -> None:
        sizes = (len(GENERATION_2023A.pack_response(one)) for one in ANSWERS)
        decoder = ResponseDecoder(GENERATION_2023A)
        clean = {0} if decoder.between_responses else set()
        for length, byte in enumerate(strategies.byte_by_byte(ANSWERS_WIRE), start=1):
            answers(decoder, [byte])
            if decoder.between_responses:
                clean.add(length)
        assert clean == set(accumulate(sizes, initial=0))

    def test_a_payload_of_the_headers_size_is_no_boundary(self) -> None:
        decoder = ResponseDecoder(GENERATION_2023A)
        answers(decoder, [response_header(2107, 7)])
        assert not decoder.between_responses

    def test_a_response_that_was_given_is_over(self) -> None:
        decoder = ResponseDecoder(GENERATION_2023A)
        wire = GENERATION_2023A.pack_response(Registered(CLIENT_ID))
        assert [decoder.between_responses for _ in decoder.feed(wire)] == [True]

    @pytest.mark.parametrize("ignored", [0, 1, 7, 16, 1024])
    @pytest.mark.parametrize("code", [2101, 2107, 1608])
    def test_what_should_be_empty_is_skipped_whole(self, code: int, ignored: int) -> None:
        wire = response_header(code, ignored) + b"\x03" * ignored + response_header(2107, 0)
        assert len(answers(ResponseDecoder(GENERATION_2023A), [wire])) == 2

    @pytest.mark.parametrize("key_bytes", [1, 127, 128, 129, 256, 1024])
    def test_a_wrapped_key_may_be_of_another_size(self, key_bytes: int) -> None:
        wire = response_header(2105, 16 + key_bytes) + CLIENT_ID + b"k" * key_bytes
        assert answers(ResponseDecoder(GENERATION_2023A), [wire]) == [
            Reconnected(CLIENT_ID, b"k" * key_bytes)
        ]

    @pytest.mark.parametrize(("column", "code", "size"), list(impossible_responses()), ids=str)
    def test_an_impossible_size_is_refused_with_the_header(
        self, column: Column, code: int, size: int
    ) -> None:
        message = column.responses[code].__name__
        with pytest.raises(ProtocolError, match=f"^{message} with a payload of {size} bytes$"):
            answers(ResponseDecoder(GENERATIONS[column.name]), [response_header(code, size)])

    @pytest.mark.parametrize("column", COLUMNS, ids=str)
    def test_an_unknown_code_is_refused(self, column: Column) -> None:
        generation, known = GENERATIONS[column.name], set()
        for code in [*range(4096), 65535]:
            header = b"\x03" + code.to_bytes(2, "little") + bytes.fromhex("10000000")
            try:
                answers(ResponseDecoder(generation), [header])
            except ProtocolError as error:
                if str(error) == f"unknown response code {code}":
                    continue
            known.add(code)
        assert known == set(column.responses)

    @pytest.mark.parametrize("version", [0, 1, 2, 4, 48, 51, 255])
    def test_another_version_is_refused(self, version: int) -> None:
        header = bytes([version]) + response_header(2100, 16)[1:]
        with pytest.raises(ProtocolError, match=f"^protocol version {version} "):
            answers(ResponseDecoder(GENERATION_2023A), [header])

    @every_wrong_response
    def test_an_error_is_no_clean_end(self, wire: bytes) -> None:
        decoder = ResponseDecoder(GENERATION_2023A)
        with pytest.raises(ProtocolError):
            answers(decoder, [wire])
        assert not decoder.between_responses

    @every_wrong_response
    @pytest.mark.parametrize("more", [b"\x03", ANSWERS_WIRE], ids=["byte", "responses"])
    def test_a_spent_decoder_refuses_whatever_follows(self, wire: bytes, more: bytes) -> None:
        decoder = ResponseDecoder(GENERATION_2023A)
        with pytest.raises(ProtocolError):
            answers(decoder, [wire])
        with pytest.raises(ProtocolError):
            answers(decoder, [more])

    def test_responses_before_an_error_are_given(self) -> None:
        wire = response_header(2107, 0) + response_header(1600, 16)
        assert next(ResponseDecoder(GENERATION_2023A).feed(wire)) == GeneralError()

    @strategies.many
    @given(st.binary(max_size=400), strategies.cuts)
    def test_random_bytes_give_responses_or_a_protocol_error(
        self, data: bytes, cuts: list[int]
    ) -> None:
        answers_or_error(strategies.cut(data, cuts))

    @strategies.many
    @given(
        st.sampled_from(sorted(GENERATION_2023A.responses)),
        st.sampled_from([0, 1, 16, 17, 144, 279, 280]),
        st.binary(max_size=400),
    )
    def test_random_payloads_give_responses_or_a_protocol_error(
        self, code: int, size: int, data: bytes
    ) -> None:
        answers_or_error([response_header(code, size) + data])

    def test_mutated_bytes_give_responses_or_a_protocol_error(self) -> None:
        for wire in mutations(ANSWERS_WIRE):
            answers_or_error([wire])
