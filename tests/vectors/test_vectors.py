"""The recorded sessions against themselves: sizes, codes, keys, contents, checksums."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.peer import checks, crypto
from tests.peer.cksum import cksum
from tests.peer.generations import GENERATIONS
from tests.vectors import load as loader
from tests.vectors.load import SESSION_FILES, Message, Session, VectorError, load

TITLES = {
    "register": "register",
    "public_key": "public key",
    "reconnect": "reconnect",
    "send_file": "send file",
    "crc_valid": "CRC valid",
    "crc_invalid": "CRC invalid, sending again",
    "crc_abandoned": "CRC invalid for the 4th time, giving up",
    "registered": "registered",
    "registration_failed": "registration failed",
    "aes_key": "public key received, AES key follows",
    "file_received": "file received, CRC follows",
    "message_received": "message received",
    "reconnected": "reconnected, AES key follows",
    "reconnect_refused": "reconnect refused, register again",
    "general_error": "general error",
}
SIZES = {
    "register": 255,
    "public_key": 415,
    "reconnect": 255,
    "crc_valid": 255,
    "crc_invalid": 255,
    "crc_abandoned": 255,
    "registered": 16,
    "registration_failed": 0,
    "aes_key": 144,
    "file_received": 279,
    "message_received": 16,
    "reconnected": 144,
    "reconnect_refused": 16,
    "general_error": 0,
}
ANSWER_TO_SENDING_AGAIN = "answer to sending again"


@pytest.fixture(params=SESSION_FILES, ids=lambda path: path.stem)
def session(request: pytest.FixtureRequest) -> Session:
    path = request.param
    assert isinstance(path, Path)
    return load(path)


@pytest.fixture(scope="module")
def private_key() -> rsa.RSAPrivateKey:
    return crypto.load_private(loader.load_private_key())


def keeps_the_specification(session: Session) -> bool:
    return session.path.stem[6] in "abcd"


def kind_of(session: Session, message: Message) -> str:
    """The row of the specification's table that the message's code is of."""
    generation = GENERATIONS[session.generation]
    if message.direction == ">":
        return generation.requests[message.code]
    answers = [kind for kind in TITLES if kind not in generation.requests.values()]
    (kind,) = [kind for kind in answers if getattr(generation, kind) == message.code]
    return kind


def files_of(session: Session) -> list[list[Message]]:
    """The send-file requests, those of one file together."""
    code = GENERATIONS[session.generation].send_file
    files: list[list[Message]] = []
    for message in session.messages:
        if message.code != code:
            continue
        if not message.has("packet number") or message.field("packet number").number == 1:
            files.append([])
        files[-1].append(message)
    return files


def test_every_generation_has_its_sessions() -> None:
    stems = {path.stem[:7] for path in SESSION_FILES}
    assert stems >= {f"{generation}-{letter}" for generation in GENERATIONS for letter in "abcd"}
    assert [session.path for session in loader.load_all()] == list(SESSION_FILES)


def test_headers(session: Session) -> None:
    for message in session.messages:
        names = [field.name for field in message.fields]
        start = ["client id"] if message.direction == ">" else []
        assert names[: len(start) + 3] == [*start, "version", "code", "payload size"]
        assert message.field("version").data == b"\x03"
        assert message.field("payload size").number == len(message.payload)
        assert message.field("payload size").size == 4
        assert message.field("code").size == 2


def test_codes(session: Session) -> None:
    for message in session.messages:
        if message.name == ANSWER_TO_SENDING_AGAIN:
            expected = {1608, GENERATIONS[session.generation].message_received}
            assert message.code in expected
        else:
            title = TITLES[kind_of(session, message)]
            assert message.name.partition(", packet")[0] == title


def test_payload_sizes(session: Session) -> None:
    for message in session.messages:
        if message.name == ANSWER_TO_SENDING_AGAIN:
            assert len(message.payload) in {0, 16}
            continue
        kind = kind_of(session, message)
        allowed = {SIZES.get(kind)}
        if kind == "send_file":
            fields = 267 if GENERATIONS[session.generation].in_packets else 259
            allowed = {fields + message.field("content").size}
        elif kind in {"general_error", "registration_failed"}:
            allowed = {0} if keeps_the_specification(session) else {0, 16}
        assert len(message.payload) in allowed


def test_numbers_in_comments(session: Session) -> None:
    """A comment that begins with a number says the field's value."""
    for message in session.messages:
        for field in message.fields:
            said = field.comment.partition(",")[0].partition(" ")[0]
            if said.isdecimal() and field.size <= 4:
                assert field.number == int(said)


def test_client_ids(session: Session) -> None:
    for message in session.messages:
        if message.has("client id") and message.name not in {"register", "general error"}:
            assert message.field("client id").data == session.client_id
    assert len(session.client_id) == 16


def test_names(session: Session) -> None:
    for message in session.messages:
        for name, expected in (("name", session.client_name), ("file name", session.file_name)):
            if not message.has(name):
                continue
            field = message.field(name)
            assert expected is not None
            assert field.size == 255
            assert field.data.partition(b"\0")[0] == expected
            if keeps_the_specification(session):
                assert field.data == expected.ljust(255, b"\0")


def test_the_public_key(session: Session, private_key: rsa.RSAPrivateKey) -> None:
    assert private_key.public_key().public_numbers().e == 17
    assert private_key.key_size == 1024
    for message in session.sent(">"):
        if message.has("public key"):
            assert message.field("public key").data == crypto.public_der(private_key)
            assert message.field("public key").size == 160


def test_aes_keys(session: Session, private_key: rsa.RSAPrivateKey) -> None:
    for message in session.sent("<"):
        if message.has("encrypted AES key"):
            encrypted = message.field("encrypted AES key").data
            assert crypto.unwrap(private_key, encrypted) == session.aes_key
            assert session.aes_key is not None
            assert len(session.aes_key) == GENERATIONS[session.generation].aes_key_size


def test_contents(session: Session) -> None:
    in_packets = GENERATIONS[session.generation].in_packets
    for requests in files_of(session):
        assert session.aes_key is not None
        told: list[str] = []
        assembly = checks.Assembly()
        whole = [
            assembly.add(checks.read_packet(request.payload, in_packets, told.append))
            for request in requests
        ]
        assert whole == [False] * (len(requests) - 1) + [True]
        plain = checks.decrypt_file(assembly.packets, session.aes_key, in_packets, told.append)
        assert plain == session.content
        unasked = session.path.stem.endswith("answered")
        assert bool(told) is not (keeps_the_specification(session) or unasked)


def test_contents_are_three_slices_of_one_ciphertext(session: Session) -> None:
    if not (keeps_the_specification(session) and GENERATIONS[session.generation].in_packets):
        return
    for requests in files_of(session):
        assert session.aes_key is not None
        assert session.content is not None
        assert [request.field("content").size for request in requests] == [32, 32, 16]
        slices = b"".join(request.field("content").data for request in requests)
        assert slices == crypto.encrypt(session.aes_key, session.content)


def test_checksums(session: Session) -> None:
    if session.content is None:
        return
    right = cksum(session.content)
    assert session.checksum == right
    verdicts = iter(m for m in session.sent(">") if "CRC" in m.name)
    for message in session.sent("<"):
        if message.has("checksum"):
            sent = message.field("checksum").number
            verdict = next(verdicts).name
            assert sent == (right if verdict == "CRC valid" else right ^ 0xFFFFFFFF)
    assert next(verdicts, None) is None


def test_the_answer_repeats_the_content_size(session: Session) -> None:
    sent = [requests[-1].field("content size").number for requests in files_of(session)]
    answers = [m for m in session.sent("<") if m.has("checksum")]
    for size, answer in zip(sent, answers, strict=False):
        assert answer.field("content size").number == size


FACTS = "title: t\ngeneration: 2023a\nclient-name: n\nclient-id: 00\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("message > m\n> 0001 1 00 f\n", "offset"),
        ("message > m\n> 0000 1 00 f\n> 0002 1 00 g\n", "offset"),
        ("message > m\n> 0000 2 00 f\n", "another size"),
        ("message > m\n> 0000 1 0000 f\n", "more bytes"),
        ("message > m\n> 0000 1 00 f\n> 0001 ... 00\n", "more bytes"),
        ("message > m\n< 0000 1 00 f\n", "another direction"),
        ("message > m\n> 0000 1 000 f\n", "odd number"),
        ("message > m\n> 0000 1 00\n", "without a name"),
        ("message > m\n> 0000 ... 00\n", "continuation"),
        ("message > m\n> 0000 2 00 f\n> 0001 ... 00 g\n", "continuation"),
        ("message > m\n", "without fields"),
        ("> 0000 1 00 f\n", "another direction"),
        ("title: again\n", "twice"),
        ("colour: blue\n", "unknown"),
        ("message > m\n> 0000 1 00 f\ntitle: late\n", "neither"),
    ],
)
def test_what_is_no_session(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "session.txt"
    path.write_text(FACTS + text)
    with pytest.raises(VectorError, match=why):
        load(path)


def test_a_small_session(tmp_path: Path) -> None:
    path = tmp_path / "session.txt"
    path.write_text(
        FACTS + "# said\n\nmessage < m\n< 0000 1 03 f\n< 0001 2 01 g # h\n< 0002 ... 02\n"
    )
    (message,) = load(path).messages
    assert message.data == b"\x03\x01\x02"
    assert message.field("g").number == 0x0201
    assert (message.field("g").offset, message.field("g").comment) == (1, "h")
    with pytest.raises(KeyError):
        message.field("h")
