"""What operators see of clients and files of protocol 4, made by real clients of a real server."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocol.channel import format_fingerprint
from server.config import Config
from server.errors import ConfigurationError, StorageError
from server.inspection import export_files, open_existing, show_client, show_file
from server.repository import Client, Repository, open_repository
from tests.peer.client import PeerClient
from tests.peer4.client import MODIFIED, client_key, public_der
from tests.peer4.serving import serving
from tests.server import commands
from tests.server.hostile_sessions import private_key

FILES = {
    "report.txt": b"Alice's report",
    "2024/may/snow \u2603.txt": b"snow",
    "CON": b"a device elsewhere",
    ".ssh/keys": b"",
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The data directory after the runs of alice, over protocol 4, and bob, over protocol 3; and
    alice's id."""
    data = tmp_path_factory.mktemp("inspection4") / "data"
    with serving(data) as server:
        with server.peer("alice") as alice:
            alice.introduce()
            for name, content in FILES.items():
                alice.put(name, content)
            alice.begin(bytes(16), bytes(32), "unfinished", 5)
            assert alice.client_id is not None
        with PeerClient(server.port, name="bob", private_key=private_key()) as bob:
            assert bob.run("report.txt", b"Bob's report").verified
    return data, alice.client_id


@pytest.fixture
def data(kept: tuple[Path, bytes]) -> Path:
    return kept[0]


@pytest.fixture
def alice(kept: tuple[Path, bytes]) -> bytes:
    return kept[1]


@pytest.fixture
def repository(data: Path) -> Iterator[Repository]:
    with closing(open_existing(Config(data=data))) as repository:
        yield repository


Ask = Callable[..., str]


@pytest.fixture
def ask(data: Path, tmp_path: Path) -> Ask:
    """The answer to a command, asked in another directory."""

    def run(*arguments: str) -> str:
        finished = commands.run(tmp_path, "--data", str(data), *arguments)
        assert (finished.returncode, finished.stderr) == (0, "")
        return finished.stdout

    return run


def _fields(answer: str) -> dict[str, str]:
    """The lines of a `show` by their labels."""
    return {line[:11].rstrip(): line[12:] for line in answer.splitlines()}


TIME = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ")


# Clients


@pytest.mark.parametrize("by_id", [False, True])
def test_a_client_is_shown_with_its_key_files_and_dates(
    ask: Ask, alice: bytes, *, by_id: bool
) -> None:
    shown = _fields(ask("clients", "show", alice.hex() if by_id else "alice"))
    assert TIME.fullmatch(shown.pop("registered"))
    assert TIME.fullmatch(shown.pop("last seen"))
    assert shown == {
        "id": alice.hex(),
        "name": "alice",
        "state": "enabled",
        "key": format_fingerprint(hashlib.sha256(public_der(client_key())).digest()),
        "files": str(len(FILES)),
        "bytes": str(sum(map(len, FILES.values()))),
        "unfinished": "1",
    }


def test_a_client_is_shown_as_json(ask: Ask, repository: Repository, alice: bytes) -> None:
    shown: dict[str, Any] = json.loads(ask("clients", "show", "alice", "--json"))
    client = repository.find_client(alice)
    assert client is not None
    assert client.public_key is not None
    assert shown == {
        "id": alice.hex(),
        "name": "alice",
        "disabled": False,
        "key": format_fingerprint(hashlib.sha256(client.public_key).digest()),
        "files": len(FILES),
        "bytes": sum(map(len, FILES.values())),
        "unfinished_uploads": 1,
        "registered_at": client.registered_at,
        "last_seen": client.last_seen,
    }


def test_a_client_that_has_no_key_yet_or_is_disabled_is_shown_so(tmp_path: Path) -> None:
    with closing(open_repository(f"sqlite:///{tmp_path / 'db'}")) as repository:
        repository.add_client(Client(b"\xcc" * 16, "Carol", 1, 2))
        repository.set_disabled(b"\xcc" * 16, True)
        lines: list[str] = []
        show_client(repository, lines.append, "Carol", as_json=False)
        shown = _fields("\n".join(lines))
        assert (shown["key"], shown["state"]) == ("none yet", "disabled")
        assert (shown["registered"], shown["last seen"]) == (
            "1970-01-01 00:00:01Z", "1970-01-01 00:00:02Z",
        )  # fmt: skip


# Files


def test_files_of_both_protocols_are_listed_with_the_checksums_that_they_have(ask: Ask) -> None:
    listed = [json.loads(line) for line in ask("files", "list", "--json").splitlines()]
    assert {(file["client"], file["name"]) for file in listed} == {
        ("alice", name) for name in FILES
    } | {("bob", "report.txt")}
    for file in listed:
        content = Path(file["path"]).read_bytes()
        if file["client"] == "bob":
            assert file["cksum"] is not None
            assert (file["sha256"], file["modified_ns"], file["mode"]) == (None, None, None)
        else:
            assert file["cksum"] is None
            assert file["sha256"] == hashlib.sha256(content).hexdigest()
            assert (file["modified_ns"], file["mode"]) == (MODIFIED, "0640")


def test_a_file_without_the_older_checksum_is_listed_on_a_line(ask: Ask) -> None:
    lines = ask("files", "list", "--client", "alice").splitlines()
    assert len(lines) == len(FILES)
    assert all(re.match(r" *\d+           -  20", line) for line in lines)


def test_a_file_of_protocol_4_is_shown_with_all_that_is_known(ask: Ask, alice: bytes) -> None:
    shown = _fields(ask("files", "show", "alice", "2024/may/snow \u2603.txt"))
    assert Path(shown.pop("path")).read_bytes() == b"snow"
    assert TIME.fullmatch(shown.pop("received"))
    assert shown == {
        "client": "alice",
        "name": "2024/may/snow \u2603.txt",
        "size": "4",
        "sha256": hashlib.sha256(b"snow").hexdigest(),
        "modified": "2023-11-14 22:13:20Z",
        "mode": "0640",
    }
    shown = _fields(ask("files", "show", alice.hex(), "report.txt"))
    assert shown["size"] == "14"


def test_of_a_file_of_protocol_3_is_shown_what_is_known(ask: Ask) -> None:
    shown = _fields(ask("files", "show", "bob", "report.txt"))
    assert set(shown) == {"client", "name", "size", "cksum", "received", "path"}


def test_a_file_is_shown_as_json_as_it_is_listed(ask: Ask) -> None:
    listed = ask("files", "list", "--json", "--client", "bob")
    assert ask("files", "show", "bob", "report.txt", "--json") == listed


@pytest.mark.parametrize(
    ("client", "name", "cause"),
    [
        ("alice", "report", "'alice' has no file 'report': see `files list`"),
        ("carol", "report.txt", "no client 'carol': see `clients list`"),
    ],
)
def test_an_unknown_file_is_an_error(
    repository: Repository, data: Path, client: str, name: str, cause: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(cause)):
        show_file(repository, data, print, client, name, as_json=False)


def test_no_key_is_shown_anywhere(ask: Ask, repository: Repository) -> None:
    shown = ask("clients", "show", "alice", "--json") + ask("clients", "show", "bob")
    for client in repository.clients():
        assert client.public_key is not None
        assert client.public_key.hex() not in shown


# Export


def _tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_files_of_protocol_4_are_exported_with_their_directories(ask: Ask, tmp_path: Path) -> None:
    printed = ask("files", "export", "out", "--client", "alice").splitlines()
    assert _tree(tmp_path / "out") == {f"alice/{name}": FILES[name] for name in FILES}
    assert sorted(printed) == sorted(f"out/alice/{name}" for name in FILES)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*")}
    assert modes == {0o600, 0o700}


def test_a_file_in_place_of_a_directory_keeps_only_what_is_below_from_being_exported(
    tmp_path: Path,
) -> None:
    failures: list[StorageError] = []
    with serving(tmp_path / "data") as server, server.peer("alice") as alice:
        alice.introduce()
        for name in ("a", "a/b", "c"):
            alice.put(name, name.encode())
        copied = export_files(
            server.repository, server.data, tmp_path / "out", failures.append, client=None
        )
        assert [path.name for path in copied] == ["a", "c"]
    assert _tree(tmp_path / "out") == {"alice/a": b"a", "alice/c": b"c"}
    (failure,) = failures
    assert str(failure) == "cannot export 'a/b' of 'alice': Not a directory"


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "a/../b", "a\nb", "", "a//b", "a/"])
def test_an_unsafe_path_in_the_database_is_not_exported(
    repository: Repository, data: Path, alice: bytes, tmp_path: Path, name: str
) -> None:
    found = repository.find_file(alice, "report.txt")
    assert found is not None
    unsafe = replace(found, name=name)

    class Edited:
        def clients(self) -> list[Client]:
            return [Client(alice, "alice", 1, 1)]

        def files(self, _client_id: bytes) -> list[Any]:
            return [unsafe]

    failures: list[StorageError] = []
    edited: Any = Edited()
    assert not list(export_files(edited, data, tmp_path / "out", failures.append, client=None))
    assert "cannot export" in str(failures)
    assert not (tmp_path / "out").exists()
