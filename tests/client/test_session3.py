"""The conversation of one connection, over scripted channels."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from client.content import PIECE_BYTES
from client.errors import (
    BrokenProtocol,
    ConnectionLost,
    ContentRejected,
    FileChanged,
    FileRefused,
    FileUnusable,
    RegistrationRefused,
    ServerHungUp,
    ServerKeepsFailing,
    ServerSilent,
)
from client.session3 import Receipt, Session3
from protocol.cksum import Cksum
from protocol.generations import GENERATION_2024C, GENERATIONS, NO_CLIENT_ID
from protocol.messages3 import (
    GeneralError,
    KeyAccepted,
    MessageReceived,
    Reconnect,
    Reconnected,
    ReconnectRefused,
    Register,
    Registered,
    RegistrationFailed,
    ResendNoted,
    SendPacket,
    SendPublicKey,
)
from tests.client.scripted import (
    ACKNOWLEDGED,
    CLIENT_ID,
    SESSION_KEY,
    FileOnDisk,
    Lines,
    ScriptedChannel,
    opened,
    received,
    session_on,
)

CONTENT = b"123456789"
CHECKSUM = 930766865
STRANGER = bytes(16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "digits.txt"
    path.write_bytes(CONTENT)
    return path


def send(channel: ScriptedChannel, path: Path, lines: Lines | None = None) -> Receipt:
    """Sends the file as a client that is known on this connection."""
    session = session_on(channel, lines)
    session._client_id = CLIENT_ID
    return session.send_file(FileOnDisk(path), SESSION_KEY)


def test_registering_gives_the_id() -> None:
    channel = ScriptedChannel(Registered(CLIENT_ID))

    assert session_on(channel).register("alice") == CLIENT_ID
    assert channel.requests == [Register("alice")]
    assert channel.client_ids == [NO_CLIENT_ID]


def test_a_refused_registration_says_what_to_do() -> None:
    channel = ScriptedChannel(RegistrationFailed())

    with pytest.raises(RegistrationRefused, match="'alice'; the name is probably taken"):
        session_on(channel).register("alice")


def test_the_public_key_goes_out_under_the_id() -> None:
    channel = ScriptedChannel(KeyAccepted(CLIENT_ID, b"wrapped"))

    assert session_on(channel).send_public_key(CLIENT_ID, "alice", b"k" * 160) == b"wrapped"
    assert channel.requests == [SendPublicKey("alice", b"k" * 160)]
    assert channel.client_ids == [CLIENT_ID]


def test_reconnecting_gives_a_key_or_a_refusal() -> None:
    channel = ScriptedChannel(Reconnected(CLIENT_ID, b"wrapped"), ReconnectRefused(STRANGER))
    session = session_on(channel)

    assert session.reconnect(CLIENT_ID, "alice") == b"wrapped"
    assert session.reconnect(CLIENT_ID, "alice") is None
    assert channel.requests == [Reconnect("alice")] * 2


@pytest.mark.parametrize(
    "step",
    [
        lambda session: session.register("alice"),
        lambda session: session.send_public_key(CLIENT_ID, "alice", b"k" * 160),
        lambda session: session.reconnect(CLIENT_ID, "alice"),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [
        MessageReceived(CLIENT_ID),
        ResendNoted(),
        KeyAccepted(STRANGER, b"wrapped"),
        Reconnected(STRANGER, b"wrapped"),
    ],
)
def test_an_answer_out_of_turn_or_for_another_client_is_not_taken(
    step: Callable[[Session3], object],
    answer: MessageReceived | ResendNoted | KeyAccepted | Reconnected,
) -> None:
    session = session_on(ScriptedChannel(answer))

    with pytest.raises(BrokenProtocol, match="out of turn or for another id"):
        step(session)


@pytest.mark.parametrize("errors", [1, 2, 3])
def test_after_a_general_error_the_same_message_goes_out_again(errors: int) -> None:
    lines = Lines()
    channel = ScriptedChannel(*[GeneralError()] * errors, Registered(CLIENT_ID))

    session_on(channel, lines).register("alice")

    assert channel.requests == [Register("alice")] * (errors + 1)
    assert lines == ["general error"] * errors


def test_the_fourth_general_error_is_the_last() -> None:
    lines = Lines()
    channel = ScriptedChannel(*[GeneralError()] * 5)

    with pytest.raises(ServerKeepsFailing, match=r"registering 'alice' failed: .* 4 times"):
        session_on(channel, lines).register("alice")

    assert channel.kinds == ["Register"] * 4
    assert lines == ["general error"] * 4


def test_a_file_is_sent_and_acknowledged(path: Path) -> None:
    channel = ScriptedChannel(received(path, CHECKSUM), ACKNOWLEDGED)

    assert send(channel, path) == Receipt(len(CONTENT), CHECKSUM)
    assert channel.kinds == ["SendFile", "ChecksumValid"]
    assert channel.client_ids == [CLIENT_ID] * 2
    assert [opened(content) for content in channel.contents] == [CONTENT]


def test_progress_is_told_of_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(bytes(2 * PIECE_BYTES))
    checksum = Cksum()
    checksum.update(bytes(2 * PIECE_BYTES))
    file = FileOnDisk(path)
    session = session_on(ScriptedChannel(received(path, checksum.value), ACKNOWLEDGED))
    session._client_id = CLIENT_ID

    session.send_file(file, SESSION_KEY)

    assert file.advances == [-(2 * PIECE_BYTES + 16), PIECE_BYTES, PIECE_BYTES, 16]


def test_packets_are_slices_of_one_ciphertext(tmp_path: Path) -> None:
    content = os.urandom(2 * PIECE_BYTES + 100)
    path = tmp_path / "random"
    path.write_bytes(content)
    checksum = Cksum()
    checksum.update(content)
    channel = ScriptedChannel(
        received(path, checksum.value), ACKNOWLEDGED, generation=GENERATION_2024C
    )
    session = session_on(channel, generation=GENERATION_2024C)
    session._client_id = CLIENT_ID

    session.send_file(FileOnDisk(path), SESSION_KEY)

    sealed_size = len(content) + 12
    assert channel.requests[:3] == [
        SendPacket(sealed_size, len(content), number, 3, "random") for number in (1, 2, 3)
    ]
    assert list(map(len, channel.contents)) == [PIECE_BYTES, PIECE_BYTES, 112]
    assert opened(b"".join(channel.contents)) == content


@pytest.mark.parametrize("wrong", [1, 2, 3])
@pytest.mark.parametrize("notice", [None, MessageReceived(CLIENT_ID), ResendNoted()])
def test_a_file_that_arrived_wrong_is_sent_again(
    path: Path, wrong: int, notice: MessageReceived | ResendNoted | None
) -> None:
    script = [received(path, CHECKSUM ^ 1)]
    for answer in [received(path, CHECKSUM ^ 1)] * (wrong - 1) + [received(path, CHECKSUM)]:
        script += [answer] if notice is None else [notice, answer]  # type: ignore[list-item]
    channel = ScriptedChannel(*script, ACKNOWLEDGED)

    send(channel, path)

    assert channel.kinds == ["SendFile", "ChecksumInvalid"] * wrong + ["SendFile", "ChecksumValid"]
    assert channel.is_used_up


def test_a_notice_is_skipped_once_only(path: Path) -> None:
    channel = ScriptedChannel(received(path, 0), ResendNoted(), ResendNoted())

    with pytest.raises(BrokenProtocol, match="ResendNoted out of turn"):
        send(channel, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checksum": 5}, "checksum 5 where 930766865 is right"),
        ({"client_id": STRANGER}, "for another client"),
        ({"name": "other.txt"}, "for the file 'other.txt'"),
        ({"content_size": 32}, "received 32 bytes of ciphertext"),
    ],
)
def test_a_file_that_arrives_wrong_four_times_is_given_up(
    path: Path, changes: dict[str, object], message: str
) -> None:
    answer = received(path, CHECKSUM)
    wrong = received(path, **({"checksum": CHECKSUM} | changes))  # type: ignore[arg-type]
    assert wrong != answer
    channel = ScriptedChannel(*[wrong] * 4, ACKNOWLEDGED)

    with pytest.raises(ContentRejected, match=rf"wrong 4 times and was given up: .*{message}"):
        send(channel, path)

    assert channel.kinds == ["SendFile", "ChecksumInvalid"] * 3 + ["SendFile", "ChecksumAbandoned"]
    assert channel.is_used_up


def test_an_acknowledgement_for_another_client_is_none(path: Path) -> None:
    channel = ScriptedChannel(received(path, CHECKSUM), MessageReceived(STRANGER))

    with pytest.raises(BrokenProtocol):
        send(channel, path)


def test_after_a_general_error_the_file_is_read_and_sent_again(path: Path) -> None:
    lines = Lines()
    channel = ScriptedChannel(
        GeneralError(), received(path, CHECKSUM), GeneralError(), ACKNOWLEDGED
    )

    send(channel, path, lines)

    assert channel.kinds == ["SendFile"] * 2 + ["ChecksumValid"] * 2
    assert lines == ["general error"] * 2


def test_a_file_that_is_refused_four_times_fails_alone(path: Path) -> None:
    channel = ScriptedChannel(*[GeneralError()] * 4)

    with pytest.raises(FileRefused, match=r"sending 'digits\.txt' failed"):
        send(channel, path)

    assert channel.is_used_up


def test_an_answer_that_is_no_receipt_is_not_taken_for_one(path: Path) -> None:
    with pytest.raises(BrokenProtocol):
        send(ScriptedChannel(ACKNOWLEDGED), path)


def test_a_file_that_is_gone_fails_before_anything_is_sent(path: Path) -> None:
    channel = ScriptedChannel()
    path.unlink()

    with pytest.raises(FileUnusable):
        send(channel, path)

    assert channel.sent == 0


def test_a_file_that_grows_is_not_completed(path: Path) -> None:
    channel = ScriptedChannel()
    file = FileOnDisk(path)
    session = session_on(channel)

    def grow(*_arguments: object) -> int:
        path.write_bytes(CONTENT + b"more")
        return 0

    file.advances = Growing(grow)
    with pytest.raises(FileChanged):
        session.send_file(file, SESSION_KEY)

    assert channel.contents == []


class Growing(list[int]):
    """Changes the file when the progress begins, which is after its size was taken."""

    def __init__(self, change: object) -> None:
        super().__init__()
        self._change = change

    def append(self, item: int) -> None:
        assert callable(self._change)
        self._change()
        super().append(item)


def test_responses_may_arrive_byte_by_byte(path: Path) -> None:
    data = b"".join(
        GENERATIONS["2023a"].pack_response(answer)
        for answer in (received(path, CHECKSUM), ACKNOWLEDGED)
    )
    channel = ScriptedChannel(*[bytes((byte,)) for byte in data])

    assert send(channel, path).checksum == CHECKSUM


@pytest.mark.parametrize("garbage", [b"\xf0" * 64, b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_garbage_is_a_broken_protocol_and_names_the_generation(garbage: bytes) -> None:
    with pytest.raises(BrokenProtocol, match=r"generation 2023a .*is --generation right\?"):
        session_on(ScriptedChannel(garbage)).register("alice")


@pytest.mark.parametrize("beginning", [b"", b"\x03"])
def test_the_connections_end_is_a_lost_connection(beginning: bytes) -> None:
    script = [beginning] if beginning else []

    with pytest.raises(ConnectionLost, match="closed the connection"):
        session_on(ScriptedChannel(*script)).register("alice")


def test_a_server_that_hangs_up_with_a_general_error_is_heard(path: Path) -> None:
    lines = Lines()
    channel = ScriptedChannel(GeneralError(), cut_after=100)

    with pytest.raises(ServerHungUp, match="answered with an error and closed the connection"):
        send(channel, path, lines)

    assert lines == ["general error"]


def test_a_server_that_hangs_up_after_a_general_error_has_answered(path: Path) -> None:
    lines = Lines()
    channel = ScriptedChannel(GeneralError())

    with pytest.raises(ServerHungUp):
        send(channel, path, lines)

    assert lines == ["general error"]


@pytest.mark.parametrize("last_words", [[], [ACKNOWLEDGED], [b"\xf0" * 64]])
def test_a_server_that_hangs_up_without_a_reason_is_a_lost_connection(
    path: Path, last_words: list[MessageReceived | bytes]
) -> None:
    lines = Lines()
    channel = ScriptedChannel(*last_words, cut_after=100)

    with pytest.raises(ConnectionLost, match="cut") as caught:
        send(channel, path, lines)

    assert not isinstance(caught.value, ServerHungUp)
    assert lines == []


def test_general_errors_are_counted_across_connections() -> None:
    lines = Lines()
    first = session_on(ScriptedChannel(*[GeneralError()] * 3), lines)
    with pytest.raises(ConnectionLost):
        first.register("alice")
    second = session_on(ScriptedChannel(GeneralError()))
    second._general_errors = first._general_errors

    with pytest.raises(ServerKeepsFailing):
        second.register("alice")


def test_a_message_that_was_answered_is_done_with() -> None:
    errors, refusal = [GeneralError()] * 3, ReconnectRefused(CLIENT_ID)
    session = session_on(ScriptedChannel(*errors, refusal, *errors, refusal))

    assert session.reconnect(CLIENT_ID, "alice") is None
    assert session.reconnect(CLIENT_ID, "alice") is None


def test_a_silent_server_is_not_waited_for_twice(path: Path) -> None:
    class Stuck(ScriptedChannel):
        def send(self, data: bytes | memoryview) -> None:
            raise ServerSilent("stuck")

    channel = Stuck(GeneralError())

    with pytest.raises(ServerSilent, match="stuck"):
        send(channel, path)

    assert not channel.is_used_up
