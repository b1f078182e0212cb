"""The client's side of every recorded session, replayed: the server answers byte for byte."""

from pathlib import Path

import pytest

from server.repository import Client
from server.session3 import Session3
from tests.peer import crypto
from tests.server.hostile_doubles import FailingRepository
from tests.server.hostile_sessions import LOCALHOST, Sessions, private_key, sessions
from tests.vectors.load import SESSION_FILES, Message, load
from tests.vectors.load import Session as Recorded

# What our server, keeping to the specification, never sends.
NEVER_SENT = {"answer to sending again"}


def prepared(recorded: Recorded, served: Sessions) -> None:
    """Makes true what the recorded server knew before its first message."""
    names = [message.name for message in recorded.messages]
    if "registration failed" in names:
        taken = Client(
            id=bytes(16), name=recorded.client_name.decode(), registered_at=1, last_seen=1
        )
        served.repository.add_client(taken)
    elif names[0] == "reconnect":
        served.repository.add_client(
            Client(
                id=recorded.client_id,
                name=recorded.client_name.decode(),
                registered_at=1,
                last_seen=1,
            )
        )
        key = crypto.public_der(private_key())
        assert served.repository.set_public_key(recorded.client_id, key, bytes(24), 1)


def answer_expected(message: Message, recorded: Recorded) -> bytes:
    """The recorded answer as a server sends it whose checksums are right and whose errors say
    nothing."""
    if message.name == "general error":
        return message.data[:3] + bytes(4)
    if message.has("checksum"):
        assert recorded.checksum is not None
        return message.data[:-4] + recorded.checksum.to_bytes(4, "little")
    return message.data


def assert_answers(answer: bytes, message: Message, recorded: Recorded) -> None:
    """Every byte is as recorded, but an encrypted key need only open to the recorded one."""
    expected = answer_expected(message, recorded)
    if message.has("encrypted AES key"):
        start = message.field("encrypted AES key").offset
        assert crypto.unwrap(private_key(), answer[start:]) == recorded.aes_key
        answer, expected = answer[:start], expected[:start]
    assert answer == expected, message.name


def kept(recorded: Recorded) -> dict[str, bytes]:
    """The files that must be visible at the end."""
    if all(message.name != "CRC valid" for message in recorded.messages):
        return {}
    assert recorded.file_name is not None
    assert recorded.content is not None
    return {recorded.file_name.decode(): recorded.content}


def replay(recorded: Recorded, session: Session3, database: FailingRepository) -> None:
    """Feeds the client's messages one by one, the database failing where the server failed."""
    messages = [message for message in recorded.messages if message.name not in NEVER_SENT]
    for number, message in enumerate(messages):
        if message.direction == "<":
            continue
        answer = next(later for later in messages[number:] if later.direction == "<")
        database.failures = int(answer.name == "general error")
        expected = [later for later in messages[number + 1 : number + 2] if later is answer]
        answers = list(session.receive(memoryview(message.data)))
        assert len(answers) == len(expected), message.name
        for data in answers:
            assert_answers(data, answer, recorded)
    database.failures = 0


@pytest.mark.parametrize("path", SESSION_FILES, ids=lambda path: path.stem)
def test_a_recorded_client_gets_the_recorded_answers(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = load(path)
    shared = recorded.generation if recorded.generation in {"2023b", "2024a"} else "2024a"
    monkeypatch.setattr("server.session3.new_client_id", lambda: recorded.client_id)
    monkeypatch.setattr("server.session3.new_aes_key", lambda _size: recorded.aes_key)
    with sessions(tmp_path / "data", FailingRepository, generation_1025=shared) as served:
        prepared(recorded, served)
        session = Session3(served.services, LOCALHOST)
        assert isinstance(served.repository, FailingRepository)
        replay(recorded, session, served.repository)
        assert not session.ended
        session.close()
        assert served.stored() == kept(recorded)
