"""The conversation of one protocol-4 connection, over scripted answers."""

from collections import deque

import pytest

from client.errors import (
    BadInput,
    BrokenProtocol,
    ClientError,
    ConnectionLost,
    FileUnusable,
    QuotaExceeded,
    ServerBusy,
    ServerFull,
    ServerSilent,
    TooManyAttempts,
)
from client.refusals import refusal
from client.session4 import Session4
from protocol.decoder4 import FrameDecoder
from protocol.fields import Buffer
from protocol.messages4 import (
    REQUESTS,
    Begin,
    Begun,
    Done,
    End,
    Entries,
    Outcomes,
    Policy,
    Put,
    Reason,
    Refused,
    Request4,
    Response4,
    Segment,
    Stored,
)
from tests.protocol.samples4 import replace

ID, SALT = bytes(16), bytes(32)
BEGIN = Begin(ID, SALT, None, 0, 0, Policy.ALWAYS, "a")
STORED = Stored(b"body", 0, 1, (), bytes(64))
OUTCOMES = Outcomes(0, bytes(64), b"\0")


class Scripted:
    """Answers with (request id, response), or raises; remembers the requests."""

    def __init__(self, *script: tuple[int, Response4] | Exception, cut: bool = False) -> None:
        self.script = deque(script)
        self.cut: Exception | None = ConnectionLost("cut") if cut else None
        self.early = 0
        self.requests: list[Request4] = []
        self._decoder: FrameDecoder[Request4] = FrameDecoder(REQUESTS)

    def send(self, *parts: Buffer) -> None:
        if self.cut:
            raise self.cut
        data = b"".join(parts)
        while data:
            space = self._decoder.writable()
            size = min(len(space), len(data))
            space[:size] = data[:size]
            self.requests += [message for _, message in self._decoder.written(size)]
            data = data[size:]

    def receive(self) -> tuple[int, Response4]:
        answer = self.script.popleft() if self.script else ConnectionLost("ended")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def has_answer(self, within: float = 0.0) -> bool:
        return self.early > 0 and bool(self.script)


def test_an_answer_to_another_request_breaks_the_protocol() -> None:
    for answer in ((2, Done()), (0, Done()), (1, Begun(0))):
        with pytest.raises(BrokenProtocol):
            Session4(Scripted(answer)).remove("a")


def test_requests_that_are_not_waited_for_are_answered_in_order() -> None:
    put = Put(SALT, b"table", bytes(16))
    refused = Refused(Reason.QUOTA, 0, "")
    session = Session4(Scripted((1, OUTCOMES), (2, refused), (3, OUTCOMES)))
    for _ in range(3):
        session.post(put)

    assert session.posted() == OUTCOMES
    with pytest.raises(QuotaExceeded):
        session.posted()
    assert session.posted() == OUTCOMES


def test_answers_that_are_not_due_yet_are_not_taken_for_others() -> None:
    put = Put(SALT, b"table", bytes(16))
    session = Session4(Scripted((1, OUTCOMES)))
    session.post(put)

    with pytest.raises(RuntimeError):
        session.stat("a")


def test_a_refused_segment_stops_the_sending() -> None:
    channel = Scripted((1, Begun(0)), (2, Refused(Reason.QUOTA, 0, "full")), (3, Done()))
    session = Session4(channel)
    session.begin(BEGIN)
    segment = Segment(ID, 0, True, bytes(16))
    session.segment(segment)
    channel.early = 1

    with pytest.raises(QuotaExceeded, match="full"):
        session.segment(segment)
    session.abandon(ID)  # the conversation is in step


def test_a_segment_that_is_refused_late_is_answered_by_the_end() -> None:
    refused = Refused(Reason.QUOTA, 0, "")
    session = Session4(Scripted((1, Begun(0)), (2, refused), (3, refused), (4, Done())))
    session.begin(BEGIN)
    session.segment(Segment(ID, 0, True, bytes(16)))

    with pytest.raises(QuotaExceeded):
        session.end(End(ID, 0, bytes(32)))
    session.abandon(ID)  # the conversation is in step


def test_a_refusal_for_nothing_breaks_the_protocol() -> None:
    session = Session4(Scripted((1, Begun(0)), (7, Refused(Reason.QUOTA, 0, ""))))
    session.begin(BEGIN)

    with pytest.raises(BrokenProtocol):
        session.end(End(ID, 0, bytes(32)))


def test_something_else_than_a_refusal_while_segments_are_sent_breaks_the_protocol() -> None:
    channel = Scripted((1, Begun(0)), (2, Done()))
    session = Session4(channel)
    session.begin(BEGIN)
    channel.early = 1

    with pytest.raises(BrokenProtocol):
        session.segment(Segment(ID, 0, True, bytes(16)))


def test_why_the_server_hung_up_is_told() -> None:
    channel = Scripted((9, Done()), (0, Refused(Reason.SHUTTING_DOWN, 7, "bye")), cut=True)
    with pytest.raises(ServerBusy, match="bye") as caught:
        Session4(channel).stat("a")
    assert caught.value.retry_after == 7
    with pytest.raises(ConnectionLost, match="cut"):
        Session4(Scripted(cut=True)).stat("a")


def test_a_silent_server_is_not_asked_why() -> None:
    channel = Scripted((0, Refused(Reason.SHUTTING_DOWN, 7, "")))
    channel.cut = ServerSilent("silent")
    with pytest.raises(ServerSilent):
        Session4(channel).stat("a")


def test_an_offset_past_the_content_breaks_the_protocol() -> None:
    begin = Begin(ID, SALT, 1 << 20, 0, 0, Policy.ALWAYS, "a")

    with pytest.raises(BrokenProtocol):
        Session4(Scripted((1, Begun(1 << 20)))).begin(begin)
    with pytest.raises(BrokenProtocol):
        Session4(Scripted((1, Done()))).begin(begin)
    assert Session4(Scripted((1, STORED))).begin(begin) == STORED


def test_a_file_whose_time_cannot_be_told_fails_alone() -> None:
    channel = Scripted((1, Begun(0)))
    session = Session4(channel)
    with pytest.raises(FileUnusable, match="'a' cannot be sent"):
        session.begin(replace(BEGIN, modified=2**63))
    assert channel.requests == []
    assert session.begin(BEGIN) == 0


def test_a_text_that_cannot_be_sent_is_the_users() -> None:
    with pytest.raises(BadInput):
        Session4(Scripted()).list_page("\udc80", "", 1)


def test_more_entries_than_asked_for_break_the_protocol() -> None:
    with pytest.raises(BrokenProtocol):
        Session4(Scripted((1, Entries(more=True, entries=())))).list_page("", "", 1)


def test_request_ids_start_again_before_they_grow_too_large() -> None:
    channel = Scripted((0xFFFFFFFF, Done()), (1, Done()))
    session = Session4(channel)
    session._last_id = 0xFFFFFFFE
    session.remove("a")
    session.remove("a")


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_an_error(reason: Reason) -> None:
    error = refusal(Refused(reason, 3, "because\x1b[31m\n" + "x" * 1000))

    assert isinstance(error, ClientError)
    assert "because?[31m?" in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 700
    assert str(refusal(Refused(reason, 0, "")))


def test_a_full_server_is_tried_again_only_when_that_is_worth_it() -> None:
    assert isinstance(refusal(Refused(Reason.SERVER_FULL, 3, "")), ServerBusy)
    assert isinstance(refusal(Refused(Reason.SERVER_FULL, 0, "")), ServerFull)


def test_too_many_attempts_say_how_long_to_wait() -> None:
    error = refusal(Refused(Reason.TOO_MANY_ATTEMPTS, 30, ""))
    assert isinstance(error, TooManyAttempts)
    assert error.retry_after == 30
    assert "try again in 30 s" in str(error)
