"""What operators see of the stored files, made by real clients of a real server."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from server import inspection
from server.config import Config
from server.errors import ConfigurationError, StorageError
from server.inspection import export_files, open_existing
from server.repository import Repository
from tests.peer import crypto
from tests.peer.client import PeerClient
from tests.server import commands
from tests.server.on_disk import ALICE, OnDisk, cksum, io_error, watch
from tests.server.running import running

FILES = {
    "alice": {"report.txt": b"Alice's report", "empty": b""},
    "bob": {"report.txt": b"Bob's report"},
    "Zoë ☃": {"naïve file.txt": b"snow"},
    "../../outside": {"passwd": b"root::0:0"},
    "/etc": {"shadow": b"root::"},
    "..": {"up": b"above"},
    "CON": {"device": b"console"},
    "silent": {},
}
UNSAFE = ["../../outside", "/etc", "..", "CON"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mapping[str, str]]:
    """The data directory after every client's run, and the clients' ids by name."""
    data = tmp_path_factory.mktemp("inspection") / "data"
    key: rsa.RSAPrivateKey = crypto.make_key()
    ids: dict[str, str] = {}
    with running(data) as server:
        for name, files in FILES.items():
            with PeerClient(server.port, name=name) as client:
                ids[name] = client.register().hex()
                client.private_key = key
                client.send_public_key()
                for file_name, content in files.items():
                    assert client.run(file_name, content).verified
    return data, ids


@pytest.fixture
def data(kept: tuple[Path, Mapping[str, str]]) -> Path:
    return kept[0]


@pytest.fixture
def ids(kept: tuple[Path, Mapping[str, str]]) -> Mapping[str, str]:
    return kept[1]


@pytest.fixture
def repository(data: Path) -> Iterator[Repository]:
    with closing(open_existing(Config(data=data))) as repository:
        yield repository


@pytest.fixture
def ask(data: Path, tmp_path: Path) -> Callable[..., commands.Finished]:
    """Runs a command on the data from another directory."""
    return lambda *arguments, **variables: commands.run(
        tmp_path, "--data", str(data), *arguments, **variables
    )


Ask = Callable[..., commands.Finished]


def _objects(finished: commands.Finished) -> list[dict[str, Any]]:
    assert (finished.returncode, finished.stderr) == (0, "")
    return [json.loads(line) for line in finished.stdout.splitlines()]


# Clients


def test_every_client_is_listed_on_a_line_with_id_time_and_name(
    ask: Ask, ids: Mapping[str, str]
) -> None:
    lines = ask("clients", "list").stdout.splitlines()
    patterns = sorted(
        rf"{ids[name]}  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\dZ  {re.escape(name)}" for name in FILES
    )
    assert len(lines) == len(patterns)
    assert all(map(re.fullmatch, patterns, sorted(lines)))


def test_every_client_is_listed_as_json(ask: Ask, ids: Mapping[str, str]) -> None:
    listed = _objects(ask("clients", "list", "--json"))
    assert {client["name"]: client["id"] for client in listed} == ids


def test_a_client_in_json_has_its_times_and_whether_it_has_a_key(ask: Ask) -> None:
    for client in _objects(ask("clients", "list", "--json")):
        assert set(client) == {
            "id", "name", "registered_at", "last_seen", "has_key", "disabled",
        }  # fmt: skip
        assert client["has_key"]
        assert not client["disabled"]
        assert client["registered_at"] <= client["last_seen"]


def test_no_key_is_ever_listed(ask: Ask, repository: Repository) -> None:
    listed = ask("clients", "list", "--json").stdout + ask("files", "list", "--json").stdout
    for client in repository.clients():
        for key in (client.public_key, client.wrapped_aes_key):
            assert key is not None
            assert key.hex() not in listed


# Files


def test_every_file_is_listed_as_json(ask: Ask) -> None:
    listed = _objects(ask("files", "list", "--json"))
    assert {(file["client"], file["name"], file["size"], file["cksum"]) for file in listed} == {
        (client, name, len(content), cksum(content))
        for client, files in FILES.items()
        for name, content in files.items()
    }


def test_a_files_path_leads_to_its_bytes(ask: Ask) -> None:
    for file in _objects(ask("files", "list", "--json")):
        assert Path(file["path"]).read_bytes() == FILES[file["client"]][file["name"]]


def test_every_file_is_listed_on_a_line_with_its_client_and_name(ask: Ask) -> None:
    lines = ask("files", "list").stdout.splitlines()
    assert {line.split("Z  ")[1].partition("  ")[2] for line in lines} == {
        f"{client}/{name}" for client, files in FILES.items() for name in files
    }


def test_the_checksum_is_the_one_that_cksum_prints(ask: Ask) -> None:
    (file,) = _objects(ask("files", "list", "--json", "--client", "bob"))
    printed = subprocess.run(["cksum", file["path"]], capture_output=True, text=True, check=True)
    assert printed.stdout.split()[:2] == [str(file["cksum"]), str(file["size"])]


@pytest.mark.parametrize("name", ["alice", "Zoë ☃", "../../outside", "silent"])
def test_one_clients_files_are_asked_for_by_name(ask: Ask, name: str) -> None:
    listed = _objects(ask("files", "list", "--json", "--client", name))
    assert {file["name"] for file in listed} == set(FILES[name])
    assert {file["client"] for file in listed} <= {name}


def test_one_clients_files_are_asked_for_by_id(ask: Ask, ids: Mapping[str, str]) -> None:
    listed = _objects(ask("files", "list", "--json", "--client", ids["alice"]))
    assert {file["client"] for file in listed} == {"alice"}


@pytest.mark.parametrize("action", [["list"], ["list", "--json"], ["export", "out"]])
def test_an_unknown_client_is_an_error_in_one_line(ask: Ask, action: list[str]) -> None:
    finished = ask("files", *action, "--client", "nobody")
    assert finished.returncode == 1
    assert finished.stderr == "error: no client 'nobody': see `clients list`\n"


def test_a_list_cut_off_by_its_reader_is_no_error(data: Path, tmp_path: Path) -> None:
    arguments = commands.command("--data", str(data), "files", "list")
    with subprocess.Popen(
        arguments, cwd=tmp_path, env=commands.environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as listing:  # fmt: skip
        assert listing.stdout is not None
        listing.stdout.close()
        _, errors = listing.communicate(timeout=commands.SECONDS)
    assert errors == ""


def test_a_list_is_printed_where_the_terminal_lacks_the_letters(ask: Ask) -> None:
    finished = ask("clients", "list", PYTHONIOENCODING="ascii")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "Zo\\xeb \\u2603" in finished.stdout


def test_a_list_does_not_disturb_a_server_that_runs(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        PeerClient(server.port)
        listed = commands.run(tmp_path, "--data", str(tmp_path / "data"), "files", "list")
    assert (listed.returncode, listed.stdout, listed.stderr) == (0, "", "")


# Export


def _tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_every_file_is_exported_under_its_clients_name_or_where_unsafe_its_id(
    ask: Ask, tmp_path: Path, ids: Mapping[str, str]
) -> None:
    ask("files", "export", "out")
    assert _tree(tmp_path / "out") == {
        f"{ids[client] if client in UNSAFE else client}/{name}": content
        for client, files in FILES.items()
        for name, content in files.items()
    }


def test_nothing_is_exported_outside_the_target(ask: Ask, tmp_path: Path) -> None:
    ask("files", "export", "a/b/out")
    assert {path.parts[:3] for path in map(Path, _tree(tmp_path))} == {("a", "b", "out")}


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("file", "cannot export to file: Not a directory"),
        ("/proc/out", "cannot export to /proc/out: No such file or directory"),
    ],
)
def test_a_target_that_is_no_directory_is_told_once(
    data: Path, tmp_path: Path, target: str, cause: str
) -> None:
    (tmp_path / "file").touch()
    finished = commands.run(tmp_path, "--data", str(data), "files", "export", target)

    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == f"error: {cause}\n"


def test_nothing_is_exported_into_the_data_directory(data: Path, tmp_path: Path) -> None:
    before = sorted(data.iterdir())
    for target in (data, data / "out"):
        finished = commands.run(tmp_path, "--data", str(data), "files", "export", str(target))
        assert finished.returncode == 1
        assert f"cannot export to {target}: it lies in the data directory" in finished.stderr

    assert sorted(data.iterdir()) == before


def test_an_export_prints_every_path(ask: Ask, tmp_path: Path) -> None:
    printed = ask("files", "export", "out").stdout.splitlines()
    assert sorted(printed) == sorted(f"out/{name}" for name in _tree(tmp_path / "out"))


def test_one_clients_files_are_exported(ask: Ask, tmp_path: Path) -> None:
    ask("files", "export", "out", "--client", "bob")
    assert _tree(tmp_path / "out") == {"bob/report.txt": b"Bob's report"}


def test_an_export_replaces_an_older_one(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "out" / "bob").mkdir(parents=True)
    (tmp_path / "out" / "bob" / "report.txt").write_text("older")
    finished = ask("files", "export", "out", "--client", "bob")
    assert finished.returncode == 0
    assert _tree(tmp_path / "out") == {"bob/report.txt": b"Bob's report"}


def test_an_export_replaces_a_link_and_not_what_it_leads_to(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out" / "bob").mkdir(parents=True)
    (tmp_path / "out" / "bob" / "report.txt").symlink_to(tmp_path / "precious")
    ask("files", "export", "out", "--client", "bob")
    assert (tmp_path / "precious").read_text() == "mine"


def test_no_file_of_an_unknown_client_is_exported(
    repository: Repository, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="no client 'nobody'"):
        list(export_files(repository, data, tmp_path, _raise, client="nobody"))


def _raise(error: StorageError) -> None:
    raise error


def _refusal(
    repository: Repository, data: Path, target: Path, *, client: str | None = "bob"
) -> str:
    with pytest.raises(StorageError) as caught:
        list(export_files(repository, data, target, _raise, client=client))
    return str(caught.value)


def test_a_directory_in_place_of_a_file_is_an_error_that_leaves_nothing_behind(
    repository: Repository, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "bob" / "report.txt").mkdir(parents=True)
    assert "cannot export" in _refusal(repository, data, tmp_path)
    assert [path.name for path in (tmp_path / "bob").iterdir()] == ["report.txt"]


def test_a_file_in_place_of_the_target_is_an_error(
    repository: Repository, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "target").write_text("")
    assert "cannot export" in _refusal(repository, data, tmp_path / "target")


def test_a_file_in_place_of_a_clients_directory_is_an_error(
    repository: Repository, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "bob").write_text("")
    assert "cannot export" in _refusal(repository, data, tmp_path)


def test_a_copy_that_is_not_on_the_disk_has_no_name(
    repository: Repository, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise io_error()

    monkeypatch.setattr(os, "fsync", fail)
    assert "Input/output error" in _refusal(repository, data, tmp_path)
    assert not _tree(tmp_path)


def test_a_copy_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_printed(
    repository: Repository, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(tmp_path, monkeypatch)
    (path,) = export_files(repository, data, tmp_path, _raise, client="bob")
    *_, synced, renamed, listed = steps.taken
    assert synced.startswith("sync bob/.")
    assert synced.endswith(".partial")
    assert (renamed, listed) == (f"rename {path.relative_to(tmp_path)}", "sync bob")


@pytest.fixture
def edited(tmp_path: Path) -> Iterator[OnDisk]:
    """A server whose database somebody else than its sessions has filled."""
    with OnDisk(tmp_path / "data") as server:
        server.register()
        yield server


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "a/../b", "a//b", "a\nb", "", "a\0b"])
def test_an_unsafe_file_name_in_the_database_is_not_exported(
    edited: OnDisk, tmp_path: Path, name: str
) -> None:
    edited.keep(name, b"content")
    target = tmp_path / "out"
    assert "cannot export" in _refusal(edited.repository, edited.config.data, target, client=None)
    assert not target.exists()


def test_bytes_that_are_gone_are_an_error(edited: OnDisk, tmp_path: Path) -> None:
    upload = edited.keep("a", b"content")
    edited.storage.remove(ALICE, upload.object_id)
    assert "No such file" in _refusal(
        edited.repository, edited.config.data, tmp_path / "out", client=None
    )


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_a_client_that_is_named_like_anothers_id_does_not_export_over_it(
    edited: OnDisk, tmp_path: Path, spelling: Callable[[str], str]
) -> None:
    outsider, imitator = b"\xbb" * 16, b"\xcc" * 16
    edited.register(outsider, "../outsider")
    edited.register(imitator, spelling(outsider.hex()))
    edited.keep("a", b"true", outsider)
    edited.keep("a", b"false", imitator)
    target = tmp_path / "out"
    list(export_files(edited.repository, edited.config.data, target, _raise, client=None))
    assert _tree(target) == {f"{outsider.hex()}/a": b"true", f"{imitator.hex()}/a": b"false"}


def test_a_file_that_cannot_be_copied_does_not_keep_the_others_from_it(
    edited: OnDisk, tmp_path: Path
) -> None:
    lost = edited.keep("lost", b"content")
    edited.keep("other", b"content")
    edited.storage.remove(ALICE, lost.object_id)
    failures: list[StorageError] = []
    copied = list(
        export_files(
            edited.repository, edited.config.data, tmp_path / "out", failures.append, client=None
        )
    )
    assert [path.name for path in copied] == ["other"]
    assert len(failures) == 1


def test_copies_are_for_their_owner_only(edited: OnDisk, tmp_path: Path) -> None:
    edited.keep("a", b"content")
    (copy,) = export_files(
        edited.repository, edited.config.data, tmp_path / "out", _raise, client=None
    )
    assert (copy.stat().st_mode & 0o777, copy.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_hidden_directory_is_never_made_for_a_client(edited: OnDisk, tmp_path: Path) -> None:
    client = b"\xdd" * 16
    edited.register(client, ".ssh")
    edited.keep("authorized_keys", b"mine", client)
    target = tmp_path / "out"
    list(export_files(edited.repository, edited.config.data, target, _raise, client=".ssh"))
    assert _tree(target) == {f"{client.hex()}/authorized_keys": b"mine"}


# No data


@pytest.mark.parametrize("action", [["clients", "list"], ["files", "list"]])
def test_a_directory_without_data_is_an_error_and_stays_as_it_was(
    tmp_path: Path, action: list[str]
) -> None:
    finished = commands.run(tmp_path, "--data", "missing", *action)
    assert finished.returncode == 1
    assert finished.stderr == (
        "error: there is no database missing/eft.sqlite3: give the server's --data or --database\n"
    )
    assert not list(tmp_path.iterdir())


def test_a_directory_without_data_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"no database {tmp_path}/eft.sqlite3"):
        open_existing(Config(data=tmp_path))


def test_a_database_that_was_asked_for_is_opened(data: Path, tmp_path: Path) -> None:
    config = Config(data=tmp_path, database=f"sqlite:///{data / 'eft.sqlite3'}")
    with closing(open_existing(config)) as repository:
        assert {client.name for client in repository.clients()} == set(FILES)


def test_the_databases_password_file_is_read(data: Path, tmp_path: Path) -> None:
    config = Config(data=data, database_password_file=tmp_path / "missing")
    with pytest.raises(ConfigurationError, match="cannot read"):
        open_existing(config)


def test_a_client_without_a_key_is_listed_as_such(edited: OnDisk) -> None:
    lines: list[str] = []
    inspection.list_clients(edited.repository, lines.append, as_json=True)
    assert [json.loads(line)["has_key"] for line in lines] == [False]
