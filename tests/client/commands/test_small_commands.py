"""`ls`, `stat`, `rm`, `mv`, `register`, `whoami`, `completion`."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from client.commands import registering, removing
from client.errors import AccessDenied, ExitStatus, QuotaExceeded, TooManyAttempts
from tests.client.commands.fake import CLIENT_ID, FINGERPRINT, SERVER, FakeServer


@pytest.fixture
def stocked(server: FakeServer) -> FakeServer:
    server.add("a", b"12345", modified=1_700_000_000_123456789)
    server.add("ab/c", b"")
    server.add("a/b", b"x")
    return server


def objects(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], "a a/b ab/c"),
        (["a"], "a a/b"),
        (["a/"], "a/b"),
        (["/"], "a a/b ab/c"),
        (["ab"], "ab/c"),
    ],
)
def test_ls(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str], arguments: list[str], names: str
) -> None:
    assert stocked.run("ls", *arguments) == 0

    assert capsys.readouterr().out.split() == names.split()


def test_ls_long(stocked: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    stocked.add("far", b"", modified=2**62, mode=0)
    stocked.run("ls", "-l", "a", "far")

    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("-rw-r-----             5 2023-11-1")
    assert shown[0].endswith(" 5994471abb01 a")
    assert shown[2].startswith("----------             0 2116-")


def test_ls_json(stocked: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert stocked.run("ls", "ab", "--json") == 0

    entry, summary = objects(capsys)
    assert entry == {
        "name": "ab/c",
        "size": 0,
        "modified": "2001-09-09T01:46:40Z",
        "received": "2023-11-14T22:13:20Z",
        "mode": "0640",
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "cksum": None,
        "upload_id": stocked.entries["ab/c"].upload_id.hex(),
    }
    assert summary["summary"]


def test_ls_of_what_is_not_there_fails(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stocked.run("ls", "no", "a") == ExitStatus.FILE_FAILED
    assert stocked.run("ls") == 0

    assert capsys.readouterr().err == "Fatal: 'no': no such file\n"


def test_a_name_does_not_steer_the_terminal(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add("\x1b]0;evil\x07", b"")
    server.run("ls")
    server.run("ls", "-l")

    assert "\x1b" not in capsys.readouterr().out


def test_stat(stocked: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert stocked.run("stat", "a", "missing") == ExitStatus.FILE_FAILED

    captured = capsys.readouterr()
    shown = dict(line.split(maxsplit=1) for line in captured.out.splitlines())
    assert shown["size:"] == "5"
    assert shown["modified:"] == "2023-11-14T22:13:20.123456789Z"
    assert shown["cksum:"] == "-"
    assert captured.err == "Fatal: 'missing': no such file\n"


def test_rm(stocked: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert stocked.run("rm", "a", "missing", "ab/c", "--json") == ExitStatus.FILE_FAILED

    assert [row["outcome"] for row in objects(capsys)[:-1]] == ["removed", "failed", "removed"]
    assert list(stocked.entries) == ["a/b"]


def test_rm_force_does_not_mind_what_is_missing(stocked: FakeServer) -> None:
    assert stocked.run("rm", "-f", "missing", "a") == 0
    assert stocked.run("rm", "-rf", "missing") == 0

    assert "a" not in stocked.entries


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["-rf", "a"], ["ab/c"]),
        (["-r", "-f", "a/", "ab"], ["a"]),
        (["-rf", "/"], []),
        (["-rf", "ab/c"], ["a", "a/b"]),
    ],
)
def test_rm_recursive(stocked: FakeServer, arguments: list[str], left: list[str]) -> None:
    assert stocked.run("rm", *arguments) == 0

    assert sorted(stocked.entries) == left


@pytest.mark.parametrize("answer", [True, False])
def test_rm_recursive_asks(
    stocked: FakeServer, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    asked = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr(removing, "confirm", confirm)
    assert stocked.run("rm", "-r", "ab") == (0 if answer else ExitStatus.BAD_INPUT)

    assert asked == ["Remove 1 file below ab"]
    assert ("ab/c" in stocked.entries) is not answer


@pytest.mark.parametrize("arguments", [["-r", "a"], ["-r", ""], [""], ["-rf", ""]])
def test_rm_without_a_terminal_or_a_name_removes_nothing(
    stocked: FakeServer, arguments: list[str]
) -> None:
    assert stocked.run("rm", *arguments) == ExitStatus.BAD_INPUT

    assert len(stocked.entries) == 3


@pytest.mark.parametrize("command", ["get", "rm", "stat"])
def test_a_name_with_a_slash_behind_it_is_no_file(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert stocked.run(command, "ab/") == ExitStatus.BAD_INPUT

    assert "NAME: 'ab/' is a directory; name a file, or give --recursive" in capsys.readouterr().err


def test_rm_recursive_names_what_is_missing(
    stocked: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(removing, "confirm", lambda _question: True)
    assert stocked.run("rm", "-r", "no", "ab") == ExitStatus.FILE_FAILED

    assert capsys.readouterr().err == "Fatal: 'no': no such file or directory\n"
    assert sorted(stocked.entries) == ["a", "a/b"]


@pytest.mark.parametrize("command", ["rm", "rm -f", "stat", "mv"])
def test_a_directory_is_told_from_what_is_not_there(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    new = ["x"] if command == "mv" else []
    assert stocked.run(*command.split(), "ab", *new) == ExitStatus.FILE_FAILED

    assert capsys.readouterr().err.startswith("Fatal: 'ab' is a directory; ")
    assert len(stocked.entries) == 3


@pytest.mark.parametrize(("new", "name"), [("x/", "x/c"), ("x/y/", "x/y/c"), ("/", "c")])
def test_mv_into_a_directory_keeps_the_rest_of_the_name(
    stocked: FakeServer, new: str, name: str
) -> None:
    assert stocked.run("mv", "ab/c", new) == 0

    assert sorted(stocked.entries) == sorted(["a", "a/b", name])


def test_mv_says_how_to_replace(stocked: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert stocked.run("mv", "a", "ab/c") == ExitStatus.FILE_FAILED

    assert capsys.readouterr().err == "Fatal: 'ab/c' exists; --force replaces it\n"


def test_mv(stocked: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert stocked.run("mv", "a", "new", "--json") == 0
    assert stocked.run("mv", "new", "ab/c") == ExitStatus.FILE_FAILED
    assert stocked.run("mv", "-f", "new", "ab/c") == 0

    assert sorted(stocked.entries) == ["a/b", "ab/c"]
    assert stocked.contents["ab/c"] == b"12345"
    assert json.loads(capsys.readouterr().out.splitlines()[0])["outcome"] == "renamed"


def test_mv_to_a_name_that_cannot_be(stocked: FakeServer) -> None:
    assert stocked.run("mv", "a", "/a") == ExitStatus.BAD_INPUT
    assert stocked.calls == []


@pytest.fixture
def stranger(server: FakeServer) -> FakeServer:
    server.me = None
    return server


def test_register_with_a_token_file(
    stranger: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "token").write_text("secret\n")
    assert stranger.run("register", "bob", "--token-file", "token") == 0

    assert (stranger.me, stranger.token) == ("bob", "secret")
    captured = capsys.readouterr()
    assert captured == ("", f"registered as 'bob', id {CLIENT_ID.hex()}\n")


def test_register_with_the_environment_or_nothing(
    stranger: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stranger.run("register", "bob", "--json", "-q") == 0
    assert stranger.token == ""
    monkeypatch.setenv("EFT_TOKEN", "from the environment")
    stranger.run("register", "bob")
    assert stranger.token == "from the environment"

    assert objects(capsys)[0] == {"name": "bob", "client_id": CLIENT_ID.hex()}


def test_register_asks_on_a_terminal(stranger: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registering, "ask_secret", lambda _question: "typed")
    stranger.run("register", "bob")

    assert stranger.token == "typed"


@pytest.mark.parametrize("arguments", [[" bob"], ["bob", "--token-file", "missing"]])
def test_register_with_what_cannot_be(stranger: FakeServer, arguments: list[str]) -> None:
    assert stranger.run("register", *arguments) == ExitStatus.BAD_INPUT
    assert stranger.calls == []


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("", "it wants a token"),
        ("", "by --token-file or EFT_TOKEN"),
        ("wrong", "the token is wrong, used up, expired or for another"),
    ],
)
def test_a_refused_registration_says_what_may_be_wrong(
    stranger: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    token: str,
    text: str,
) -> None:
    monkeypatch.setenv("EFT_TOKEN", token)
    stranger.refusals["bob"] = AccessDenied("no")
    assert stranger.run("register", "bob") == ExitStatus.REFUSED
    assert text in capsys.readouterr().err


def test_who_is_banned_is_told_how_long(
    stranger: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger.refusals["bob"] = TooManyAttempts("try again in 7 s")
    assert stranger.run("register", "bob") == ExitStatus.REFUSED
    assert capsys.readouterr().err == "Fatal: try again in 7 s\n"


def test_a_token_is_no_argument(stranger: FakeServer) -> None:
    with pytest.raises(SystemExit):
        stranger.run("register", "bob", "secret")
    with pytest.raises(SystemExit):
        stranger.run("register", "bob", "--token", "secret")


def test_whoami(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.run("whoami")
    server.run("whoami", "--json")

    *shown, as_json, _ = capsys.readouterr().out.splitlines()
    expected = {
        "name": "alice",
        "client_id": CLIENT_ID.hex(),
        "server": SERVER,
        "fingerprint": FINGERPRINT,
    }
    assert json.loads(as_json) == expected
    assert dict(line.split(":", 1) for line in shown)["name"].strip() == "alice"


def test_whoami_without_an_identity(stranger: FakeServer) -> None:
    assert stranger.run("whoami") == ExitStatus.BAD_INPUT


def test_a_refusal_is_a_failure_with_its_status(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stocked.refusals["a b"] = QuotaExceeded("no more")
    assert stocked.run("mv", "a", "b", "--json") == ExitStatus.FILE_FAILED

    assert objects(capsys)[-1]["error"] == "no more"


@pytest.mark.parametrize(("shell", "text"), [("bash", "complete "), ("zsh", "compdef")])
def test_completion(
    server: FakeServer, capsys: pytest.CaptureFixture[str], shell: str, text: str
) -> None:
    assert server.run("completion", shell) == 0

    shown = capsys.readouterr().out
    assert text in shown
    assert "eft-client" in shown
    assert subprocess.run(["bash", "-n"], input=shown, text=True, check=False).returncode == 0
