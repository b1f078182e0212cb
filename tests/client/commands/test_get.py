"""`get`: what is fetched to where, and that nothing gets out of there."""

import errno
import io
import json
import os
import sys
from pathlib import Path

import pytest

from client.errors import ConnectionLost, ExitStatus, NotWritten
from tests.client.commands.fake import FakeServer


@pytest.fixture
def stocked(server: FakeServer) -> FakeServer:
    server.add("notes.txt", b"notes")
    server.add("photos/a.jpg", b"aaa")
    server.add("photos/raw/b.raw", b"bb")
    server.add("photos2/c", b"c")
    return server


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["notes.txt"], ["notes.txt"]),
        (["photos/a.jpg"], ["a.jpg"]),
        (["photos/a.jpg", "."], ["a.jpg"]),
        (["photos/a.jpg", "b.jpg"], ["b.jpg"]),
        (["photos/a.jpg", "new/dir/"], ["new/dir/a.jpg"]),
        (["photos/a.jpg", "notes.txt", "in/"], ["in/a.jpg", "in/notes.txt"]),
        (["-r", "photos", "in"], ["in/photos/a.jpg", "in/photos/raw/b.raw"]),
        (["-r", "photos/", "in"], ["in/a.jpg", "in/raw/b.raw"]),
        (["-r", "photos/raw", "in"], ["in/raw/b.raw"]),
        (["-r", "photos/a.jpg", "photos/raw", "in"], ["in/a.jpg", "in/raw/b.raw"]),
        (["-r", "photos"], ["photos/a.jpg", "photos/raw/b.raw"]),
        (["-r", "photos/raw/", "photos2", "in"], ["in/b.raw", "in/photos2/c"]),
        (
            ["-r", "/", "."],
            ["notes.txt", "photos/a.jpg", "photos/raw/b.raw", "photos2/c"],
        ),
    ],
)
def test_where_files_go(
    stocked: FakeServer, work: Path, arguments: list[str], expected: list[str]
) -> None:
    assert stocked.run("get", *arguments) == 0

    assert sorted(tree(work)) == expected


def test_a_target_whose_name_no_file_can_have_is_refused(
    stocked: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "x" * 256
    assert stocked.run("get", "notes.txt", long) == ExitStatus.BAD_INPUT

    assert capsys.readouterr().err == (
        f"Fatal: TARGET: '{long}': File name too long; name another one\n"
    )
    assert tree(work) == {}


def test_standard_output(stocked: FakeServer, monkeypatch: pytest.MonkeyPatch, work: Path) -> None:
    class Out(io.StringIO):
        buffer = io.BytesIO()

    monkeypatch.setattr(sys, "stdout", Out())
    assert stocked.run("get", "notes.txt", "photos/a.jpg", "-") == 0

    assert Out.buffer.getvalue() == b"notesaaa"
    assert tree(work) == {}


def test_json(stocked: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert stocked.run("get", "notes.txt", "missing", "./", "--json") == ExitStatus.FILE_FAILED

    failed, got, summary = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (failed["name"], failed["outcome"]) == ("missing", "failed")
    assert (got["file"], got["name"], got["outcome"]) == ("notes.txt", "notes.txt", "verified")
    assert got["sha256"] == stocked.entries["notes.txt"].sha256.hex()  # type: ignore[union-attr]
    assert (summary["bytes"], summary["failed"]) == (5, 1)


@pytest.mark.parametrize(
    ("overwrite", "modified", "fetched"),
    [
        ("never", 2 * 10**18, False),
        ("if-newer", 2 * 10**18, True),
        ("if-newer", 1000, False),
        ("always", 1000, True),
    ],
)
def test_what_is_here_already(
    server: FakeServer, work: Path, overwrite: str, modified: int, fetched: bool
) -> None:
    server.add("f", b"new", modified=modified)
    (work / "f").write_bytes(b"old")
    os.utime(work / "f", ns=(10**18, 10**18))
    assert server.run("get", "f", "--overwrite", overwrite) == 0

    assert (work / "f").read_bytes() == (b"new" if fetched else b"old")


def test_a_link_that_leads_out_is_not_followed(
    stocked: FakeServer, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "in").mkdir()
    (tmp_path / "out").mkdir()
    (work / "in" / "photos").symlink_to(tmp_path / "out")
    (work / "in" / "inside").mkdir()
    (work / "in" / "photos2").symlink_to("inside")
    assert stocked.run("get", "-r", "/", "in") == ExitStatus.FILE_FAILED

    assert tree(tmp_path / "out") == {}
    assert sorted(tree(work / "in")) == ["inside/c", "notes.txt"]
    assert "leads out of 'in' by a link" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x/../../up", "x//up", "x/.", "x/\x1b[31m"])
def test_a_name_that_cannot_be_is_refused(server: FakeServer, tmp_path: Path, name: str) -> None:
    server.add(name, b"evil")
    server.add("x/good", b"good")
    assert server.run("get", "-r", "x/", "in") == ExitStatus.FILE_FAILED

    assert sorted(tree(tmp_path)) == ["work/in/good"]


def test_what_is_no_file_is_not_replaced(stocked: FakeServer, work: Path) -> None:
    os.mkfifo(work / "pipe")
    (work / "notes.txt").mkdir()
    assert stocked.run("get", "photos/a.jpg", "pipe") == ExitStatus.FILE_FAILED
    assert stocked.run("get", "notes.txt", ".") == ExitStatus.FILE_FAILED

    assert not [call for call in stocked.calls if call.startswith("get")]


def test_a_file_where_a_directory_is_needed(
    stocked: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "photos").write_bytes(b"")
    assert stocked.run("get", "-r", "/", ".") == ExitStatus.FILE_FAILED

    assert sorted(tree(work)) == ["notes.txt", "photos", "photos2/c"]
    assert capsys.readouterr().err.splitlines() == [
        f"Fatal: 'photos/{name}' needs a directory where there is a file"
        for name in ("a.jpg", "raw/b.raw")
    ]


def test_of_a_file_and_a_directory_of_one_name_what_has_no_place_is_told(
    server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "a/b", "a/b/c"):
        server.add(name, name.encode())
    assert server.run("get", "-r", "a", ".") == ExitStatus.FILE_FAILED
    assert server.run("get", "-r", "a/", "below") == ExitStatus.FILE_FAILED

    assert tree(work) == {"a": b"a", "below/b": b"a/b"}
    assert capsys.readouterr().err.splitlines() == [
        f"Fatal: '{name}' needs a directory where there is a file"
        for name in ("a/b", "a/b/c", "below/b/c")
    ]


def test_a_file_that_is_named_twice_is_fetched_once(stocked: FakeServer, work: Path) -> None:
    assert stocked.run("get", "notes.txt", "notes.txt", ".") == 0
    assert stocked.run("get", "-r", "photos", "photos", ".") == 0

    assert sorted(tree(work)) == ["notes.txt", "photos/a.jpg", "photos/raw/b.raw"]
    assert stocked.calls.count("get notes.txt") == stocked.calls.count("get photos/a.jpg") == 1


@pytest.mark.parametrize(
    "failure", [NotWritten("no space left"), OSError(errno.EIO, "Input/output error")]
)
def test_a_failure_to_write_does_not_stop_the_others(
    stocked: FakeServer, work: Path, failure: Exception
) -> None:
    stocked.refusals["photos/a.jpg"] = failure
    assert stocked.run("get", "-r", "/", ".") == ExitStatus.FILE_FAILED

    assert sorted(tree(work)) == ["notes.txt", "photos/raw/b.raw", "photos2/c"]


def test_what_was_not_reached_is_unsent(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stocked.refusals["photos/a.jpg"] = KeyboardInterrupt()
    assert stocked.run("get", "-r", "/", ".", "--json") == ExitStatus.INTERRUPTED

    *rows, summary = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert [row["outcome"] for row in rows] == ["verified", "unsent", "unsent", "unsent"]
    assert (summary["unsent"], summary["status"]) == (3, 130)


def test_a_lost_connection_ends_it(stocked: FakeServer) -> None:
    stocked.refusals["notes.txt"] = ConnectionLost("gone")

    assert stocked.run("get", "notes.txt") == ExitStatus.NO_CONNECTION


def test_a_directory_that_is_not_there(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stocked.run("get", "-r", "photo", ".") == ExitStatus.FILE_FAILED

    assert capsys.readouterr().err == "Fatal: 'photo': no such file or directory\n"


@pytest.mark.parametrize("target", [".", "-"])
def test_a_directory_is_told_from_what_is_not_there(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str], work: Path, target: str
) -> None:
    assert stocked.run("get", "photos", target) == ExitStatus.FILE_FAILED
    assert stocked.run("get", "photo", target) == ExitStatus.FILE_FAILED

    directory, nothing = capsys.readouterr().err.splitlines()
    assert directory.startswith("Fatal: 'photos' is a directory; ")
    assert nothing == "Fatal: 'photo': no such file"
    assert tree(work) == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["notes.txt", "photos/a.jpg", "nowhere"], "TARGET: 'nowhere' is no directory"),
        (["../x", "."], "NAME: the name"),
        (["-r", "", "."], "NAME: the name is empty"),
        (["-r", "photos", "-"], "-: standard output takes neither"),
        (["notes.txt", "-", "--json"], "-: standard output takes neither"),
        (["photos/a.jpg", "x/a.jpg", "./"], "would both become 'a.jpg'"),
    ],
)
def test_contradictions_are_bad_input(
    stocked: FakeServer, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    stocked.add("x/a.jpg", b"")
    assert stocked.run("get", *arguments) == ExitStatus.BAD_INPUT

    assert text in capsys.readouterr().err
