"""Names that climb out, hide or deceive: refused, and nothing is written anywhere."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peer import client as peer
from tests.peer.generations import GENERATIONS
from tests.peer.style import Style
from tests.server.hostile_doubles import listing
from tests.server.hostile_sessions import Sessions, sessions

CONTENT = b"content"

# Refused as a client's and as a file's name
UNPRINTABLE = {
    "empty": b"",
    "blanks": b"   ",
    "blank at the end": b"x ",
    "latin-1": "Müller".encode("latin-1"),
    "code page 862": "שלום".encode("cp862"),
    "a surrogate": b"\xed\xa0\x80",
    "overlong slash": b"\xc0\xaf",
    "cut in a character": "é".encode()[:1],
    "newline": b"a\nb",
    "carriage return": b"a\rb",
    "escape": b"\x1b[2Jx",
    "delete": b"a\x7fb",
    "C1 control": "a\u0085b".encode(),
    "line separator": "a\u2028b".encode(),
    "right-to-left override": "a\u202egpj.exe".encode(),
    "every control": bytes(range(1, 32)),
}

# Good for a client, but no file's name on every system
UNSAFE_FILES = {
    "dot": b".",
    "dots": b"..",
    "three dots": b"...",
    "climbing": b"../x",
    "climbing out": b"../../../../../../etc/passwd",
    "climbing by backslash": b"..\\..\\x",
    "absolute": b"/etc/passwd",
    "in a directory": b"a/b",
    "final slash": b"a/",
    "drive": b"C:\\x",
    "drive-relative": b"C:x",
    "stream": b"x:y",
    "share": b"\\\\host\\share",
    "device": b"CON",
    "device in small letters": b"nul",
    "device with an ending": b"COM1.txt",
    "wildcard": b"*",
    "pipe": b"a|b",
    "final dot": b"x.",
}

HARMLESS = {
    "hidden": b".bashrc",
    "option": b"-rf",
    "home": b"~",
    "quoted": b"'; DROP TABLE files; --",
    "percent": b"%2e%2e%2fx",
    "spaces inside": b"a  b",
    "hebrew": "שלום.txt".encode(),
    "emoji": "🙂".encode(),
    "255 bytes": b"n" * 255,
    "255 bytes of two each": "é".encode() * 127 + b"x",
    "staging": b"staging",
    "like an id": b"0" * 32,
}

a_database = pytest.mark.parametrize("database_url", ["sqlite", "mariadb"], indirect=True)


def named(served: Sessions, name: bytes) -> None:
    """Sends a file of this name as every generation's client does, and has it kept."""
    client = served.introduced(style=Style(unterminated_names=True))
    client.send_file(name, CONTENT)
    client.crc_valid(name)


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
@pytest.mark.parametrize(
    "name", [*UNPRINTABLE.values(), *UNSAFE_FILES.values()], ids=[*UNPRINTABLE, *UNSAFE_FILES]
)
def test_an_unsafe_file_name_is_refused_and_nothing_is_written(
    tmp_path: Path, name: bytes, generation: str
) -> None:
    with sessions(tmp_path / "data") as served:
        client = served.introduced(generation)
        before = listing(tmp_path)
        with pytest.raises(peer.GeneralError):
            client.send_file(name, CONTENT)
        assert listing(tmp_path) == before
        client.store("safe", CONTENT)


@pytest.mark.parametrize("name", UNPRINTABLE.values(), ids=UNPRINTABLE)
def test_an_unprintable_client_name_is_not_registered(tmp_path: Path, name: bytes) -> None:
    with sessions(tmp_path / "data") as served:
        before = listing(tmp_path)
        with pytest.raises(peer.RegistrationFailed):
            served.peer(name=name).register()
        assert list(served.repository.clients()) == []
        assert listing(tmp_path) == before


@pytest.mark.parametrize("name", UNSAFE_FILES.values(), ids=UNSAFE_FILES)
def test_a_client_name_is_never_part_of_a_path(tmp_path: Path, name: bytes) -> None:
    with sessions(tmp_path / "data") as served:
        beside = listing(tmp_path)
        client = served.introduced(name=name)
        client.store("file", CONTENT)
        written = listing(tmp_path) - beside
        (file,) = served.files()
        directory = tmp_path / "data" / file.client_id.hex()
        assert written == {directory, directory / file.object_id.hex()}


@a_database
@pytest.mark.parametrize("name", HARMLESS.values(), ids=HARMLESS)
def test_an_unusual_file_name_is_kept_as_it_is(
    tmp_path: Path, database_url: str, name: bytes
) -> None:
    with sessions(tmp_path / "data", database=database_url) as served:
        named(served, name)
        assert served.stored() == {name.decode(): CONTENT}


@a_database
@pytest.mark.parametrize("name", HARMLESS.values(), ids=HARMLESS)
def test_an_unusual_client_name_registers_and_reconnects(
    tmp_path: Path, database_url: str, name: bytes
) -> None:
    with sessions(tmp_path / "data", database=database_url) as served:
        client = served.introduced(name=name, style=Style(unterminated_names=True))
        again = served.again(client)
        again.style = client.style
        again.reconnect()
        (registered,) = served.repository.clients()
        assert registered.name == name.decode()


@pytest.mark.parametrize("make", [lambda name: name + b"\0b", lambda name: name + b"\0\0/etc"])
def test_a_name_ends_at_its_first_nul(tmp_path: Path, make: Callable[[bytes], bytes]) -> None:
    with sessions(tmp_path / "data") as served:
        named(served, make(b"a"))
        assert served.stored() == {"a": CONTENT}


ALIKE = [
    ("Alice", "alice"),
    ("Alice", "ALICE"),
    ("Alice", "Älice"),
    ("Strasse", "Straße"),
    ("caf\u00e9", "cafe\u0301"),
    ("a b", "a  b"),
    ("ﬁle", "file"),
]


@a_database
@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_client_names_that_differ_in_any_byte_are_different_clients(
    tmp_path: Path, database_url: str, one: str, other: str
) -> None:
    with sessions(tmp_path / "data", database=database_url) as served:
        first, second = served.introduced(name=one), served.introduced(name=other)
        assert first.client_id != second.client_id
        with pytest.raises(peer.ReconnectRefused):
            served.again(first, name=other).reconnect()


@a_database
@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_file_names_that_differ_in_any_byte_are_different_files(
    tmp_path: Path, database_url: str, one: str, other: str
) -> None:
    with sessions(tmp_path / "data", database=database_url) as served:
        client = served.introduced()
        client.store(one, b"one")
        client.store(other, b"other")
        assert served.stored() == {one: b"one", other: b"other"}


@a_database
def test_two_clients_may_have_files_of_one_name(tmp_path: Path, database_url: str) -> None:
    with sessions(tmp_path / "data", database=database_url) as served:
        for name in ("Alice", "Bob"):
            served.introduced(name=name).store("file", name.encode())
        assert len(served.files()) == 2


@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_answer_to_a_255_byte_name_repeats_it_whole(tmp_path: Path, generation: str) -> None:
    shared = generation if generation in {"2023b", "2024a"} else "2024a"
    with sessions(tmp_path / "data", generation_1025=shared) as served:
        client = served.introduced(generation, style=Style(unterminated_names=True))
        assert client.send_file("f" * 255, CONTENT).file_name == b"f" * 255
        assert client.violations == []
