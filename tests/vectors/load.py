"""Reads the session files of this directory; their format is described in README.md."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
SESSION_FILES: tuple[Path, ...] = tuple(sorted((HERE / "sessions").glob("*.txt")))

Direction = Literal[">", "<"]
""">: client to server, <: server to client."""

_FIELD = re.compile(r"([<>]) (\d{4}) (\d+|\.\.\.) ([0-9a-f]+)(?: (.+))?")
_MESSAGE = re.compile(r"message ([<>]) (.+)")
_FACT = re.compile(r"([a-z-]+): (.*)")


class VectorError(ValueError):
    """A session file is not in the format; the text says where and why."""


@dataclass(frozen=True)
class Field:
    """One field of a message; `offset` counts from the message's first byte."""

    offset: int
    data: bytes
    name: str
    comment: str

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.data)

    @property
    def number(self) -> int:
        """Its value as the unsigned little-endian integer that it may be."""
        return int.from_bytes(self.data, "little")


@dataclass(frozen=True)
class Message:
    """One request or response; its fields' data put together are `data`."""

    direction: Direction
    name: str
    data: bytes
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        """The field of this name; KeyError when there is none."""
        for field in self.fields:
            if field.name == name:
                return field
        raise KeyError(name)

    def has(self, name: str) -> bool:
        """Whether there is a field of this name."""
        return any(field.name == name for field in self.fields)

    @property
    def code(self) -> int:
        """The request or response code."""
        return self.field("code").number

    @property
    def payload(self) -> bytes:
        """What follows the header: 23 bytes of a request, 7 of a response."""
        return self.data[23 if self.direction == ">" else 7 :]


@dataclass(frozen=True)
class Session:
    """One connection from its first byte to its last.

    The names and numbers beside the messages say what the messages mean; a session in which no
    key is exchanged has no `aes_key`. `client_id` is the id at the session's beginning when the
    client has one, else the one it gets. `checksum` is the right one of `content`, whatever the
    server of the session sends.
    """

    path: Path
    title: str
    generation: str
    client_name: bytes
    client_id: bytes
    aes_key: bytes | None
    file_name: bytes | None
    content: bytes | None
    checksum: int | None
    messages: tuple[Message, ...]

    def sent(self, direction: Direction) -> tuple[Message, ...]:
        """The messages of one side, in order."""
        return tuple(message for message in self.messages if message.direction == direction)


def load_private_key() -> bytes:
    """The PKCS#8 DER of the one private key of all sessions: RSA-1024, exponent 17."""
    return base64.b64decode((HERE / "private_key.pkcs8.b64").read_text(), validate=False)


def load(path: Path) -> Session:
    """The session of one file; `VectorError` when the file is not in the format."""
    reader = _Reader(path)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        reader.where = f"{path.name}:{number}"
        if line and not line.startswith("#"):
            reader.take(line)
    return reader.session()


def load_all() -> Iterator[Session]:
    """Every session, in the order of the files' names."""
    return map(load, SESSION_FILES)


class _Reader:
    """What has been read of a file so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = path.name
        self.facts: dict[str, str] = {}
        self.messages: list[Message] = []
        self.fields: list[Field] = []
        self.title: tuple[Direction, str] | None = None
        self.size_said = 0

    def fail(self, why: str) -> VectorError:
        return VectorError(f"{self.where}: {why}")

    def take(self, line: str) -> None:
        if match := _MESSAGE.fullmatch(line):
            self.end_message()
            self.title = (_direction(match[1]), match[2])
        elif match := _FIELD.fullmatch(line):
            self.take_field(match)
        elif (match := _FACT.fullmatch(line)) and self.title is None:
            if match[1] in self.facts:
                raise self.fail(f"{match[1]} twice")
            self.facts[match[1]] = match[2]
        else:
            raise self.fail("neither a fact, a message nor a field")

    def take_field(self, match: re.Match[str]) -> None:
        direction, offset, size, digits, text = match.groups()
        if self.title is None or direction != self.title[0]:
            raise self.fail("field of another direction than its message's")
        if int(offset) != sum(field.size for field in self.fields):
            raise self.fail("offset does not follow from the fields before")
        if len(digits) % 2:
            raise self.fail("odd number of hex digits")
        data = bytes.fromhex(digits)
        if size == "...":
            if not self.fields or text is not None:
                raise self.fail("continuation of nothing, or with a name")
            last = self.fields.pop()
            data = last.data + data
            self.fields.append(Field(last.offset, data, last.name, last.comment))
        else:
            self.end_field()
            if text is None:
                raise self.fail("field without a name")
            name, _, comment = text.partition(" # ")
            self.fields.append(Field(int(offset), data, name, comment))
            self.size_said = int(size)
        if self.fields[-1].size > self.size_said:
            raise self.fail("more bytes than the field's size")

    def end_field(self) -> None:
        if self.fields and self.fields[-1].size != self.size_said:
            raise self.fail(f"field {self.fields[-1].name!r} before has another size")

    def end_message(self) -> None:
        self.end_field()
        if self.title is None:
            return
        if not self.fields:
            raise self.fail("message without fields before")
        direction, name = self.title
        data = b"".join(field.data for field in self.fields)
        self.messages.append(Message(direction, name, data, tuple(self.fields)))
        self.fields = []

    def session(self) -> Session:
        self.end_message()
        facts = self.facts
        known = {"title", "generation", "client-name", "client-id"}
        optional = {"aes-key", "file-name", "content", "checksum"}
        if not known <= set(facts) <= known | optional:
            raise self.fail(f"facts missing or unknown: {sorted(set(facts) ^ known)}")
        file_name, checksum = facts.get("file-name"), facts.get("checksum")
        return Session(
            path=self.path,
            title=facts["title"],
            generation=facts["generation"],
            client_name=facts["client-name"].encode(),
            client_id=bytes.fromhex(facts["client-id"]),
            aes_key=bytes.fromhex(facts["aes-key"]) if "aes-key" in facts else None,
            file_name=file_name.encode() if file_name is not None else None,
            content=bytes.fromhex(facts["content"]) if "content" in facts else None,
            checksum=int(checksum) if checksum is not None else None,
            messages=tuple(self.messages),
        )


def _direction(sign: str) -> Direction:
    return ">" if sign == ">" else "<"
