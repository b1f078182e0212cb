"""The tables, the checksum and the hex dump of docs/protocol-3.md, against code and vectors."""

import importlib
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client.content import largest_file_bytes
from protocol import names
from protocol.cksum import Cksum
from protocol.generations import GENERATIONS, Generation
from protocol.header import REQUEST_HEADER_BYTES, RESPONSE_HEADER_BYTES
from protocol.messages3 import (
    ChecksumAbandoned,
    ChecksumInvalid,
    ChecksumValid,
    FileReceived,
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
    SendFile,
    SendPacket,
    SendPublicKey,
)
from server.config import Config
from tests.vectors.load import HERE, Field, Message, Session, load, load_all

DOCUMENT = (Path(__file__).parent.parent / "docs" / "protocol-3.md").read_text(encoding="utf-8")

REQUESTS: dict[str, tuple[type, ...]] = {
    "register": (Register,),
    "public key": (SendPublicKey,),
    "reconnect": (Reconnect,),
    "send file": (SendFile, SendPacket),
    "CRC valid": (ChecksumValid,),
    "CRC invalid, sending again": (ChecksumInvalid,),
    "CRC invalid for the 4th time, giving up": (ChecksumAbandoned,),
}
RESPONSES: dict[str, tuple[type, ...]] = {
    "registered": (Registered,),
    "registration failed": (RegistrationFailed,),
    "public key received, AES key follows": (KeyAccepted,),
    "file received, CRC follows": (FileReceived,),
    "message received": (MessageReceived,),
    "reconnected, AES key follows": (Reconnected,),
    "reconnect refused, register again": (ReconnectRefused,),
    "general error": (GeneralError,),
}
WITHOUT_PAYLOAD = {"registration failed", "general error"}
NUMBERS = ("version", "code", "payload size", "content size", "checksum")

Table = list[list[str]]
Layout = list[tuple[int, int | None, str]]
"""Offset in the payload, size (None: the rest) and name of each field."""


def section(heading: str) -> str:
    """The text under the only heading that begins so, up to the next one of its level."""
    level = heading.partition(" ")[0]
    pattern = rf"^{re.escape(heading)}[^\n]*\n(.*?)(?=^#{{2,{len(level)}}} |\Z)"
    (text,) = re.findall(pattern, DOCUMENT, re.MULTILINE | re.DOTALL)
    assert isinstance(text, str)
    return text


def table(text: str) -> Table:
    """The rows of the first table in `text`, without its head."""
    (rows, *_) = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    cells = [[cell.strip() for cell in row[1:-1].split("|")] for row in rows.splitlines()]
    assert set(cells[1]) == {"---"}
    assert all(len(row) == len(cells[0]) for row in cells)
    return cells[2:]


def generation_rows(heading: str) -> dict[str, dict[str, str]]:
    """A table of generations as row title -> generation -> cell."""
    head = f"{'| '.join(['', *(f'{name} ' for name in GENERATIONS)])}|"
    assert head in section(heading)
    return {
        title: dict(zip(GENERATIONS, cells, strict=True))
        for title, *cells in table(section(heading))
    }


def code_of(generation: Generation, classes: tuple[type, ...]) -> str:
    both = [*generation.requests.items(), *generation.responses.items()]
    (code,) = [code for code, message in both if message in classes]
    return str(code)


@pytest.mark.parametrize(
    ("heading", "classes"), [("### Request codes", REQUESTS), ("### Response codes", RESPONSES)]
)
def test_the_tables_of_codes_are_those_of_the_code(
    heading: str, classes: dict[str, tuple[type, ...]]
) -> None:
    assert generation_rows(heading) == {
        title: {name: code_of(generation, kinds) for name, generation in GENERATIONS.items()}
        for title, kinds in classes.items()
    }


def test_no_code_is_missing() -> None:
    described = {kind for kinds in (REQUESTS | RESPONSES).values() for kind in kinds}
    for generation in GENERATIONS.values():
        known = {*generation.requests.values(), *generation.responses.values()}
        assert known - described == {ResendNoted}
        assert generation.responses[1608] is ResendNoted
    assert "1608" in section("### Response codes")


def test_the_other_differences_are_those_of_the_code() -> None:
    form = {False: "one message", True: "packets"}
    assert generation_rows("### Other differences") == {
        "AES key, bits": {n: str(8 * g.aes_key_bytes) for n, g in GENERATIONS.items()},
        "file sent as": {n: form[g.in_packets] for n, g in GENERATIONS.items()},
        "usual port": {n: str(g.default_port) for n, g in GENERATIONS.items()},
    }


def layouts(heading: str) -> Iterator[tuple[str, Layout]]:
    """(message, its layout) for all payloads that are described under a heading of level 2."""
    header_bytes = {"## Request payloads": 23, "## Response payloads": 7}[heading]
    for text in section(heading).split("\n### ")[1:]:
        messages = re.search(r"^Messages: ([^.]+)\.$", text, re.MULTILINE)
        if messages is None:
            continue
        layout: Layout = []
        for offset, in_message, size, name, _ in table(text):
            assert int(in_message) == int(offset) + header_bytes
            assert int(offset) == sum(size or 0 for _, size, _ in layout)
            layout.append((int(offset), None if size == "rest" else int(size), name))
        titles, _, generations = messages[1].partition(" in ")
        for title in re.findall("`([^`]+)`", titles):
            for name in generations.split(" and ") if generations else GENERATIONS:
                yield f"{name} {title}", layout


DESCRIBED = {
    ">": dict(layouts("## Request payloads")),
    "<": dict(layouts("## Response payloads")),
}


@pytest.mark.parametrize("session", list(load_all()), ids=lambda session: session.path.stem)
def test_recorded_messages_have_the_fields_of_the_tables(session: Session) -> None:
    for message in session.messages:
        header = 3 if message.direction == "<" else 4
        title = message.name.partition(", packet ")[0]
        described = DESCRIBED[message.direction].get(f"{session.generation} {title}")
        if described is None:
            assert title in {*WITHOUT_PAYLOAD, "answer to sending again"}
            continue
        start = message.fields[header].offset
        found = [
            (field.offset - start, field.size, field.name) for field in message.fields[header:]
        ]
        expected = [
            (offset, len(message.payload) - offset if size is None else size, name)
            for offset, size, name in described
        ]
        assert found == expected


def test_every_message_with_a_payload_has_its_table() -> None:
    for direction, classes in ((">", REQUESTS), ("<", RESPONSES)):
        titles = {
            f"{name} {title}" for name in GENERATIONS for title in {*classes} - WITHOUT_PAYLOAD
        }
        assert set(DESCRIBED[direction]) == titles


@pytest.mark.parametrize(
    ("heading", "size", "direction"),
    [
        ("### Request header", REQUEST_HEADER_BYTES, ">"),
        ("### Response header", RESPONSE_HEADER_BYTES, "<"),
    ],
)
def test_headers_are_those_of_the_vectors(heading: str, size: int, direction: str) -> None:
    described = [(int(row[0]), int(row[1]), row[2]) for row in table(section(heading))]
    assert f"{heading}, {size} bytes\n" in DOCUMENT
    assert sum(row[1] for row in described) == size
    for session in load_all():
        for message in session.messages:
            if message.direction == direction:
                fields = [(f.offset, f.size, f.name) for f in message.fields if f.offset < size]
                assert fields == described


def documented_cksum() -> Callable[[bytes], int]:
    (source,) = re.findall(r"```python\n(.*?)```", section("## Checksum"), re.DOTALL)
    defined: dict[str, Callable[[bytes], int]] = {}
    exec(source, defined)  # noqa: S102 - our own document
    return defined["cksum"]


def test_the_checksum_that_the_document_defines_is_ours() -> None:
    cksum = documented_cksum()
    assert cksum(b"123456789") == 930766865
    assert "0x377a6011 = 930766865" in section("## Checksum")
    assert f"empty file is {cksum(b'')}." in section("## Checksum")
    for size in (0, 1, 255, 256, 1000):
        content = random.Random(size).randbytes(size)
        ours = Cksum()
        ours.update(content)
        assert cksum(content) == ours.value


def register_after(data: bytes) -> int:
    """The checksum's register when these bytes, and no length, have been put in."""
    register = 0
    for byte in data:
        register ^= byte << 24
        for _ in range(8):
            register = register << 1 ^ (0x104C11DB7 if register >> 31 else 0)
    return register


def test_the_registers_of_the_worked_checksum() -> None:
    _, worked = section("## Checksum").split("For the nine bytes")
    nine = b"123456789"
    assert [row[1] for row in table(worked)] == [
        f"{register_after(b'1'):#010x}",
        f"{register_after(b'12'):#010x}",
        f"{register_after(nine):#010x}",
        f"{register_after(nine + bytes([9])):#010x}",
        f"{register_after(nine + bytes([9])) ^ 0xFFFFFFFF:#010x} = 930766865",
    ]


def test_the_rules_of_names_are_those_of_the_code() -> None:
    text = " ".join(section("## Names").split())
    (separators,) = re.findall(r"contains one of `([^`]+)`", text)
    assert set(separators.split()) == names._SEPARATORS
    (devices,) = re.findall(r"in any case: (.*?), or `COM` or `LPT` with a digit", text)
    digits = "0123456789\u00b9\u00b2\u00b3"
    ports = {f"{port}{digit}" for port in ("COM", "LPT") for digit in digits}
    assert {*re.findall("`([^`]+)`", devices)} | ports == names._DEVICES
    (controls,) = re.findall(r"a bidirectional control \((.*?)\)", text)
    found = set()
    for part in controls.split(", "):
        first, *last = (int(number, 16) for number in re.findall(r"U\+([0-9A-F]{4})", part))
        found |= {chr(number) for number in range(first, (last or [first])[0] + 1)}
    assert found == names._BIDIRECTIONAL_CONTROLS


def test_the_settings_have_the_defaults_of_the_server() -> None:
    rows = table(section("### Settings that matter here"))
    config = Config()
    assert len(rows) > 10
    for name, default, _ in rows:
        value = getattr(config, name.strip("`"))
        assert default == (f"{value:g}" if isinstance(value, float) else str(value))


def test_the_numbers_are_those_of_the_code() -> None:
    rows = table(section("### Numbers in the code"))
    assert len(rows) > 5
    for name, value, _ in rows:
        module, _, constant = name.strip("`").rpartition(".")
        assert getattr(importlib.import_module(module), constant) == int(value)


def test_the_largest_files() -> None:
    text = " ".join(section("### Numbers in the code").split())
    for name, form in (("2023a", "in one message"), ("2024c", "in packets")):
        assert f"{largest_file_bytes(GENERATIONS[name])} bytes {form}" in text


# The hex dump

DUMPED = load(HERE / "sessions" / "2023a-a-first-run.txt")
MESSAGE = re.compile(
    r"^### Message (\d+): (client|server), (.+) \((\d+) bytes\)\n\n.+\n\n```text\n([^`]*)```$",
    re.MULTILINE,
)
LINE = re.compile(r"(\d{4})  ((?:[0-9a-f]{2} ?){1,16}) +(\S.*)")


def meaning(fields: tuple[Field, ...], start: int, end: int) -> str:
    """What the dump says beside the bytes from `start` to `end`."""
    words = []
    for field in fields:
        if start <= field.offset < end:
            number = f" {field.number}" if field.name in NUMBERS else ""
            words.append(field.name + number)
        elif field.offset < start < field.offset + field.size:
            words.append(f"... {field.name}")
    return ", ".join(words)


def dumped_lines(message: Message) -> list[tuple[int, bytes, str]]:
    return [
        (
            start,
            message.data[start : start + 16],
            meaning(message.fields, start, start + 16),
        )
        for start in range(0, len(message.data), 16)
    ]


def test_the_dump_is_the_whole_recorded_session() -> None:
    dumps = MESSAGE.findall(section("## A whole session"))
    assert len(dumps) == len(DUMPED.messages) == 8
    for number, (dump, message) in enumerate(zip(dumps, DUMPED.messages, strict=True), start=1):
        said_number, side, name, size, text = dump
        assert int(said_number) == number
        assert side == {">": "client", "<": "server"}[message.direction]
        assert (name, int(size)) == (message.name, len(message.data))
        lines = []
        for line in text.splitlines():
            match = LINE.fullmatch(line)
            assert match is not None, line
            lines.append((int(match[1]), bytes.fromhex(match[2]), match[3]))
        assert lines == dumped_lines(message)


def test_the_facts_of_the_dump_are_those_of_the_recorded_session() -> None:
    session = DUMPED
    assert session.aes_key is not None
    assert session.file_name is not None
    assert session.content is not None
    assert {name: value.strip("`") for name, value in table(section("## A whole session"))} == {
        "client name": session.client_name.decode(),
        "client id": session.client_id.hex(),
        "AES key": session.aes_key.hex(),
        "file name": session.file_name.decode(),
        "content": session.content.decode(),
        "checksum": str(session.checksum),
    }
