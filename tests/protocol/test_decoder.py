"""The decoder of requests: bytes in any pieces to messages, and hostile bytes to errors."""

from collections import deque
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.decoder import RequestDecoder, RequestEnd, RequestHead
from protocol.errors import ContentTooLarge, ProtocolError
from protocol.generations import (
    GENERATION_2023A,
    GENERATION_2023B,
    GENERATION_2024A,
    GENERATION_2024C,
    GENERATIONS,
    Generation,
    generations_by_code,
)
from protocol.messages3 import (
    Register,
    SendFile,
    SendPacket,
)
from tests.protocol import samples, strategies
from tests.protocol.decoding import (
    CONVERSATION,
    CONVERSATION_EVENTS,
    CONVERSATION_WIRE,
    MAX_CONTENT,
    Sent,
    decoder_of,
    events,
    every_request_code,
    every_wrong_request,
    impossible_requests,
    mutations,
    outcome,
    request_decoder,
    request_header,
    sent,
    sent_requests,
    streams,
)
from tests.protocol.samples import CLIENT_ID
from tests.protocol.specification import (
    COLUMNS,
    REQUEST_BYTES,
    Column,
)


class TestRequests:
    @every_request_code
    def test_every_code_is_decoded(self, column: Column, code: int) -> None:
        message = column.requests[code]
        request, payload = next(pair for pair in samples.REQUESTS if type(pair[0]) is message)
        content = b"x" * getattr(request, "content_size", 0) if message is SendFile else b""
        wire = request_header(code, REQUEST_BYTES[message] + len(content))
        generation = GENERATIONS[column.name]
        assert (
            events(decoder_of(column), [wire + bytes.fromhex(payload) + content])
            == sent(generation, request, content).events
        )

    @pytest.mark.parametrize("generation", [GENERATION_2023B, GENERATION_2024A])
    def test_the_shared_codes_mean_the_generation_that_was_chosen(
        self, generation: Generation
    ) -> None:
        request = sent(generation, Register("Alice"))
        assert events(request_decoder(generation), [request.wire]) == request.events

    @strategies.some
    @given(streams, strategies.cuts)
    def test_any_pieces_give_the_same_events(self, stream: list[Sent], cuts: list[int]) -> None:
        wire = b"".join(one.wire for one in stream)
        expected = [event for one in stream for event in one.events]
        assert events(request_decoder(), strategies.cut(wire, cuts)) == expected

    @pytest.mark.parametrize("size", [1, 2, 7, 22, 23, 24, 255, 1000, 10**6])
    def test_pieces_of_one_size_give_the_same_events(self, size: int) -> None:
        pieces = [
            CONVERSATION_WIRE[start : start + size]
            for start in range(0, len(CONVERSATION_WIRE), size)
        ]
        assert events(request_decoder(), pieces) == CONVERSATION_EVENTS

    @strategies.some
    @given(st.lists(sent_requests(), max_size=2))
    def test_single_bytes_give_the_same_events(self, stream: list[Sent]) -> None:
        wire = b"".join(one.wire for one in stream)
        expected = [event for one in stream for event in one.events]
        assert events(request_decoder(), strategies.byte_by_byte(wire)) == expected

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_bytes_of_any_kind_are_decoded(
        self, kind: Callable[[bytes], bytes | bytearray | memoryview]
    ) -> None:
        found = request_decoder().feed(kind(CONVERSATION_WIRE))
        heads = [event for event in found if isinstance(event, RequestHead)]
        assert heads == [one.head for one in CONVERSATION]

    def test_nothing_gives_nothing(self) -> None:
        assert events(request_decoder(), [b"", b""]) == []

    def test_content_is_handed_on_without_a_copy(self) -> None:
        data = CONVERSATION[2].wire
        views = [event for event in request_decoder().feed(data) if isinstance(event, memoryview)]
        assert [view.obj is data for view in views] == [True]

    def test_content_is_handed_on_as_it_arrives(self) -> None:
        decoder = request_decoder()
        wire = CONVERSATION[2].wire
        events(decoder, [wire[:-48]])
        found = [
            [bytes(event) for event in decoder.feed(byte) if isinstance(event, memoryview)]
            for byte in strategies.byte_by_byte(wire[-48:])
        ]
        assert found == [[bytes([number])] for number in range(48)]

    def test_a_head_is_given_before_its_content_is_there(self) -> None:
        assert events(request_decoder(), [CONVERSATION[2].wire[:-48]]) == [CONVERSATION[2].head]

    def test_a_buffer_is_let_go_after_it_was_decoded(self) -> None:
        buffer = bytearray(CONVERSATION[2].wire[:-20])
        deque(request_decoder().feed(buffer), maxlen=0)
        buffer.clear()  # BufferError while a view of it is open
        assert not buffer

    def test_a_head_does_not_change_with_the_buffer(self) -> None:
        buffer = bytearray(CONVERSATION[1].wire)
        head = next(iter(request_decoder().feed(buffer)))
        buffer[:] = bytes(len(buffer))
        assert head == CONVERSATION[1].head

    def test_every_prefix_gives_only_what_it_completes(self) -> None:
        completed = list(accumulate((len(one.wire) for one in CONVERSATION), initial=0))
        for length in range(len(CONVERSATION_WIRE)):
            ends = events(request_decoder(), [CONVERSATION_WIRE[:length]]).count(RequestEnd())
            assert ends == sum(end <= length for end in completed[1:])

    def test_every_prefix_of_heads_gives_only_the_complete_ones(self) -> None:
        starts = list(accumulate((len(one.wire) for one in CONVERSATION), initial=0))
        complete = [
            start + len(one.wire) - len(one.content)
            for start, one in zip(starts, CONVERSATION, strict=False)
        ]
        for length in range(len(CONVERSATION_WIRE)):
            found = events(request_decoder(), [CONVERSATION_WIRE[:length]])
            heads = [event for event in found if isinstance(event, RequestHead)]
            assert len(heads) == sum(end <= length for end in complete)

    def test_truncation_is_told_from_a_clean_end_at_every_byte(self) -> None:
        boundaries = set(accumulate((len(one.wire) for one in CONVERSATION), initial=0))
        decoder = request_decoder()
        clean = {0} if decoder.between_requests else set()
        for length, byte in enumerate(strategies.byte_by_byte(CONVERSATION_WIRE), start=1):
            events(decoder, [byte])
            if decoder.between_requests:
                clean.add(length)
        assert clean == boundaries

    @pytest.mark.parametrize("one", CONVERSATION, ids=str)
    def test_a_request_lasts_until_its_end_is_taken(self, one: Sent) -> None:
        decoder = request_decoder()
        between = [decoder.between_requests for _ in decoder.feed(one.wire)]
        assert between == [False] * (len(between) - 1) + [True]

    def test_the_content_left_is_counted_down(self) -> None:
        decoder = request_decoder()
        left = [decoder.content_left]
        for piece in [CONVERSATION[2].wire[:-48], bytes(1), bytes(40), bytes(6), bytes(1)]:
            events(decoder, [piece])
            left.append(decoder.content_left)
        assert left == [0, 48, 47, 7, 1, 0]

    def test_the_content_left_is_right_at_every_event(self) -> None:
        decoder = request_decoder()
        left = [decoder.content_left for _ in decoder.feed(CONVERSATION[2].wire)]
        assert left == [48, 0, 0]

    @pytest.mark.parametrize("one", [one for one in CONVERSATION if not one.content], ids=str)
    def test_a_request_without_content_has_none_left(self, one: Sent) -> None:
        decoder = request_decoder()
        assert [decoder.content_left for _ in decoder.feed(one.wire)] == [0, 0]

    def test_no_generation_is_known_before_the_first_code(self) -> None:
        decoder = request_decoder()
        events(decoder, [CONVERSATION_WIRE[:22]])
        assert decoder.generation is None

    @every_request_code
    def test_the_generation_is_known_from_the_header_on(self, column: Column, code: int) -> None:
        decoder = decoder_of(column)
        size = REQUEST_BYTES[column.requests[code]]
        events(decoder, [request_header(code, size)])
        assert decoder.generation is GENERATIONS[column.name]

    def test_the_generation_is_that_of_the_latest_request(self) -> None:
        decoder = request_decoder()
        events(decoder, [CONVERSATION[0].wire])
        events(decoder, [CONVERSATION[5].wire])
        assert decoder.generation is GENERATION_2024C

    def test_the_generation_stays_known_when_an_unknown_code_follows(self) -> None:
        decoder = request_decoder()
        events(decoder, [CONVERSATION[0].wire])
        with pytest.raises(ProtocolError):
            events(decoder, [request_header(2100, 255)])
        assert decoder.generation is GENERATION_2023A

    def test_the_generation_is_known_when_the_size_is_refused(self) -> None:
        decoder = request_decoder()
        with pytest.raises(ProtocolError):
            events(decoder, [request_header(825, 1)])
        assert decoder.generation is GENERATION_2024C

    @pytest.mark.parametrize(
        "code",
        sorted(
            {0, 1, 824, 829, 899, 903, 1024, 1032, 1099, 1107, 65535}
            | {code for column in COLUMNS for code in column.responses}
        ),
    )
    def test_an_unknown_code_is_refused(self, code: int) -> None:
        header = CLIENT_ID + b"\x03" + code.to_bytes(2, "little") + bytes.fromhex("ff000000")
        with pytest.raises(ProtocolError, match=f"^unknown request code {code}$"):
            events(request_decoder(), [header])

    def test_a_code_of_a_generation_that_is_not_served_is_refused(self) -> None:
        decoder = RequestDecoder({1100: GENERATION_2023A}, MAX_CONTENT)
        with pytest.raises(ProtocolError, match=r"^unknown request code 825$"):
            events(decoder, [request_header(825, 255)])

    @pytest.mark.parametrize("version", [0, 1, 2, 4, 48, 51, 255])
    def test_another_version_is_refused(self, version: int) -> None:
        header = bytearray(CONVERSATION_WIRE[:23])
        header[16] = version
        with pytest.raises(ProtocolError, match=f"^protocol version {version} "):
            events(request_decoder(), [bytes(header)])

    @pytest.mark.parametrize(("column", "code", "size"), list(impossible_requests()), ids=str)
    def test_an_impossible_size_is_refused_with_the_header(
        self, column: Column, code: int, size: int
    ) -> None:
        with pytest.raises(ProtocolError):
            events(decoder_of(column), [request_header(code, size)])

    @every_request_code
    def test_a_possible_size_is_waited_for(self, column: Column, code: int) -> None:
        decoder = decoder_of(column)
        header = request_header(code, REQUEST_BYTES[column.requests[code]])
        assert (events(decoder, [header]), decoder.between_requests) == ([], False)

    @pytest.mark.parametrize("change", [-1, 1])
    def test_a_refused_size_is_named(self, change: int) -> None:
        size = 255 + change
        with pytest.raises(
            ProtocolError, match=f"^Register with a payload of {size} bytes where 255 are expected$"
        ):
            events(request_decoder(), [request_header(1100, size)])

    @pytest.mark.parametrize(("code", "fixed"), [(1103, 259), (1028, 267), (828, 267)])
    def test_content_beyond_the_limit_is_refused_with_the_header(
        self, code: int, fixed: int
    ) -> None:
        with pytest.raises(
            ContentTooLarge, match=r"^1001 bytes of content where 1000 are accepted$"
        ):
            events(request_decoder(), [request_header(code, fixed + 1001)])

    @pytest.mark.parametrize(("code", "fixed"), [(1103, 259), (1028, 267), (828, 267)])
    def test_content_at_the_limit_is_accepted(self, code: int, fixed: int) -> None:
        decoder = request_decoder()
        content_size = (1000).to_bytes(4, "little")
        payload = content_size + bytes(fixed - len(content_size))
        (head,) = events(decoder, [request_header(code, fixed + 1000), payload])
        assert isinstance(head, RequestHead)
        assert head.content_bytes == 1000

    def test_the_largest_content_that_the_protocol_allows_is_accepted(self) -> None:
        most = 2**32 - 1 - 259
        decoder = request_decoder(max_content_bytes=most)
        head = GENERATION_2023A.pack_request(CLIENT_ID, SendFile(most, "a"), most)
        events(decoder, [head])
        assert decoder.content_left == most

    def test_the_limit_is_for_each_request_alone(self) -> None:
        full = sent(GENERATION_2023A, SendFile(1000, "a.txt"), b"x" * 1000)
        assert events(request_decoder(), [full.wire * 3]) == full.events * 3

    def test_without_room_for_content_other_requests_pass(self) -> None:
        decoder = request_decoder(max_content_bytes=0)
        assert events(decoder, [CONVERSATION[0].wire]) == CONVERSATION[0].events

    @pytest.mark.parametrize("said", [0, 1, 47, 49, 2**32 - 1])
    def test_a_whole_file_of_another_size_than_it_says_is_refused(self, said: int) -> None:
        wire = GENERATION_2023A.pack_request(CLIENT_ID, SendFile(said, "a.txt"), 48)
        with pytest.raises(
            ProtocolError,
            match=f"^a content size of {said} bytes in a message that carries 48$",
        ):
            events(request_decoder(), [wire])

    @pytest.mark.parametrize("said", [0, 1, 4, 5, 6, 2**32 - 1])
    def test_a_packet_may_say_another_size_than_it_carries(self, said: int) -> None:
        packet = sent(GENERATION_2024C, SendPacket(said, 4, 1, 2, "a.txt"), b"12345")
        assert events(request_decoder(), [packet.wire]) == packet.events

    @every_wrong_request
    @pytest.mark.parametrize("more", [b"\x03", CONVERSATION_WIRE], ids=["byte", "requests"])
    def test_a_spent_decoder_refuses_whatever_follows(self, wire: bytes, more: bytes) -> None:
        decoder = request_decoder()
        with pytest.raises(ProtocolError):
            events(decoder, [wire])
        with pytest.raises(ProtocolError):
            events(decoder, [more])

    @every_wrong_request
    def test_an_error_is_no_clean_end(self, wire: bytes) -> None:
        decoder = request_decoder()
        with pytest.raises(ProtocolError):
            events(decoder, [wire])
        assert not decoder.between_requests

    def test_requests_before_an_error_are_given(self) -> None:
        wire = CONVERSATION[0].wire + request_header(2100, 16)
        assert outcome([wire]) == (CONVERSATION[0].events, "unknown request code 2100")

    @strategies.many
    @given(st.binary(max_size=600), strategies.cuts)
    def test_random_bytes_give_events_or_a_protocol_error(
        self, data: bytes, cuts: list[int]
    ) -> None:
        outcome(strategies.cut(data, cuts))

    @strategies.many
    @given(
        strategies.client_ids,
        st.sampled_from(sorted(generations_by_code(GENERATION_2024A))),
        st.integers(0, 600),
        st.binary(max_size=600),
    )
    def test_random_payloads_give_events_or_a_protocol_error(
        self, client_id: bytes, code: int, size: int, data: bytes
    ) -> None:
        header = client_id + request_header(code, size)[16:]
        outcome([header + data])

    def test_mutated_bytes_give_events_or_a_protocol_error(self) -> None:
        for wire in mutations(CONVERSATION_WIRE):
            outcome([wire])

    @strategies.some
    @given(st.binary(max_size=600))
    def test_random_bytes_give_the_same_in_any_pieces(self, data: bytes) -> None:
        data = request_header(1103, 259 + data.count(b"\0")) + data
        assert outcome([data]) == outcome(strategies.byte_by_byte(data))

    def test_one_end_is_like_another(self) -> None:
        assert {RequestEnd(), RequestEnd()} == {RequestEnd()}

    def test_a_head_does_not_change(self) -> None:
        head = CONVERSATION[0].head
        with pytest.raises(FrozenInstanceError):
            head.content_bytes = 1  # type: ignore[misc]

    @pytest.mark.parametrize("event", [CONVERSATION[0].head, RequestEnd()])
    def test_events_hold_nothing_but_their_fields(self, event: object) -> None:
        assert not hasattr(event, "__dict__")
