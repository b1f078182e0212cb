"""`put`: what is sent under which name, and what is told of it."""

import io
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from client.errors import ConnectionLost, ExitStatus, FileUnusable
from tests.client.commands.fake import FakeServer


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def photos(work: Path) -> Path:
    (work / "photos" / "raw").mkdir(parents=True)
    (work / "photos" / "a.jpg").write_bytes(b"a" * 10)
    (work / "photos" / "raw" / "b.raw").write_bytes(b"b" * 600_000)
    return work / "photos"


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["photos"], ["photos/a.jpg", "photos/raw/b.raw"]),
        (["photos/"], ["a.jpg", "raw/b.raw"]),
        (["photos", "--to", "x/y/"], ["x/y/photos/a.jpg", "x/y/photos/raw/b.raw"]),
        (["photos", "--exclude", "raw/"], ["photos/a.jpg"]),
        (["photos/a.jpg", "--as", "new"], ["new"]),
        (["photos/a.jpg", "--as", "new", "--to", "x"], ["x/new"]),
    ],
)
def test_names(server: FakeServer, arguments: list[str], names: list[str]) -> None:
    assert server.run("put", *arguments) == 0

    assert sorted(server.contents) == names


def test_content_and_time_arrive(server: FakeServer, photos: Path) -> None:
    os.utime(photos / "a.jpg", ns=(1, 123456789))
    server.run("put", "photos/a.jpg")

    assert server.contents["a.jpg"] == b"a" * 10
    assert server.entries["a.jpg"].modified == 123456789


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("arguments", [["empty"], ["photos", "--exclude", "*"]])
def test_it_is_told_that_there_is_nothing_to_send(
    server: FakeServer, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    Path("empty").mkdir()
    assert server.run("put", *arguments) == 0

    assert server.calls == []
    assert capsys.readouterr().err.startswith("warning: there is no file to send")


@pytest.mark.usefixtures("photos")
def test_json_has_an_object_for_each_file_and_a_summary(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path("photos") / "link").symlink_to("a.jpg")
    assert server.run("put", "photos", "missing", "--json") == ExitStatus.FILE_FAILED

    captured = capsys.readouterr()
    objects = [json.loads(line) for line in captured.out.splitlines()]
    assert all(
        list(row) == ["file", "name", "outcome", "size", "sha256", "seconds", "error"]
        for row in objects[:-1]
    )
    assert [(row["file"], row["outcome"], row["size"]) for row in objects[:-1]] == [
        ("photos/link", "skipped", None),
        ("missing", "failed", None),
        ("photos/a.jpg", "verified", 10),
        ("photos/raw/b.raw", "verified", 600_000),
    ]
    summary = objects[-1]
    assert (summary["summary"], summary["status"], summary["files"]) == (True, 1, 4)
    assert (summary["verified"], summary["skipped"], summary["failed"]) == (2, 1, 1)
    assert (summary["bytes"], summary["error"]) == (600_010, None)
    assert captured.err.splitlines() == [
        "warning: photos/link: a symbolic link, skipped",
        "Fatal: missing: No such file or directory",
    ]


@pytest.mark.usefixtures("photos")
def test_a_dry_run_lists_and_does_not_even_connect(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.run("put", "photos", "--to", "in", "--dry-run") == 0

    assert (server.servers, server.calls) == ([], [])
    assert capsys.readouterr().out.splitlines() == [
        "photos/a.jpg -> in/photos/a.jpg",
        "photos/raw/b.raw -> in/photos/raw/b.raw",
    ]


@pytest.mark.usefixtures("photos")
def test_a_dry_run_as_json(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.run("put", "photos", "-n", "--json")

    *rows, summary = lines(capsys)
    assert [row["outcome"] for row in rows] == ["planned", "planned"]
    assert (summary["planned"], summary["verified"], server.calls) == (2, 0, [])


def test_a_name_that_is_not_allowed_is_told_before_anything_is_sent(
    server: FakeServer, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "line\nbreak").write_bytes(b"")
    assert server.run("put", "photos") == ExitStatus.FILE_FAILED

    assert sorted(server.contents) == ["photos/a.jpg", "photos/raw/b.raw"]
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("Fatal: photos/line\\nbreak: the name")


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("name", ["photos/a.jpg", "photos/raw/b.raw"])
def test_a_file_that_fails_does_not_stop_the_others(
    server: FakeServer, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refusals[name] = FileUnusable("cannot read it")
    assert server.run("put", "photos") == ExitStatus.FILE_FAILED

    assert len(server.contents) == 1
    assert capsys.readouterr().err == "Fatal: cannot read it\n"


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize("jobs", ["1", "4"])
def test_what_was_not_reached_is_unsent(
    server: FakeServer, capsys: pytest.CaptureFixture[str], jobs: str
) -> None:
    server.refusals["photos/raw/b.raw"] = ConnectionLost("the connection was lost")
    (Path("photos") / "z").write_bytes(b"z" * 600_000)
    server.refusals["photos/z"] = ConnectionLost("the connection was lost")
    assert server.run("put", "photos", "--json", "--jobs", jobs) == ExitStatus.NO_CONNECTION

    *rows, summary = lines(capsys)
    assert {row["name"]: row["outcome"] for row in rows} | {"photos/a.jpg": ""} == {
        "photos/a.jpg": "",
        "photos/raw/b.raw": "unsent",
        "photos/z": "unsent",
    }
    assert (summary["status"], summary["error"]) == (3, "the connection was lost")


@pytest.mark.usefixtures("photos")
def test_an_interrupt_is_one_line_and_130(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refusals["photos/raw/b.raw"] = KeyboardInterrupt()
    assert server.run("put", "photos") == ExitStatus.INTERRUPTED

    assert capsys.readouterr().err == (
        "warning: interrupted; the same command goes on where it stopped\n"
    )


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(("overwrite", "replaced"), [("never", False), ("if-newer", True)])
def test_what_must_not_be_replaced_is_skipped(
    server: FakeServer, overwrite: str, replaced: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add("photos/a.jpg", b"old", modified=5)
    assert server.run("put", "photos/", "--to", "photos", "--overwrite", overwrite, "--json") == 0

    outcomes = {row["name"]: row["outcome"] for row in lines(capsys)[:-1]}
    assert outcomes["photos/a.jpg"] == ("verified" if replaced else "skipped")
    assert (server.contents["photos/a.jpg"] == b"old") is not replaced


def test_many_connections_share_the_large_files_and_the_rate(
    server: FakeServer, work: Path
) -> None:
    for number in range(12):
        (work / f"f{number}").write_bytes(bytes(600_000))
    (work / "small").write_bytes(b"")
    assert server.run("put", ".", "--jobs", "3", "--limit-rate", "300k") == 0

    assert len(server.contents) == 13
    assert [options["limit_rate"] for options in server.options] == [102_400] * 3
    assert server.calls[0] == "whoami"
    assert server.calls.count("close") == 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sending")]


def test_what_is_named_twice_is_sent_once(server: FakeServer, work: Path) -> None:
    (work / "d").mkdir()
    (work / "d" / "f").write_bytes(b"f")
    assert server.run("put", "d/f", "d/", "./d/f") == 0

    assert [call for call in server.calls if call.startswith("put")] == ["put f"]


def test_connections_are_not_more_than_large_files(server: FakeServer, work: Path) -> None:
    (work / "f").write_bytes(bytes(600_000))
    server.run("put", "f", "--jobs", "8")

    assert len(server.options) == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["a", "b/a"], "would have the name 'a'"),
        (["a", "b", "--as", "x"], "--as: is for one file"),
        (["b", "--as", "x/../y"], "--as: the name"),
        (["-"], "--as: missing"),
        (["-", "a", "--as", "x"], "standard input goes alone"),
        (["a", "--to", "../x"], "--to: the name"),
    ],
)
def test_contradictions_are_bad_input(
    server: FakeServer,
    work: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    (work / "a").write_bytes(b"")
    (work / "b").mkdir()
    (work / "b" / "a").write_bytes(b"")
    assert server.run("put", *arguments) == ExitStatus.BAD_INPUT

    assert text in capsys.readouterr().err
    assert server.contents == {}


class Input:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


def test_standard_input(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Input(b"piped"))
    assert server.run("put", "-", "--as", "etc.tar", "--to", "in", "--json") == 0

    assert server.contents == {"in/etc.tar": b"piped"}
    row, summary = lines(capsys)
    assert (row["file"], row["name"], row["size"]) == ("-", "in/etc.tar", 5)
    assert summary["bytes"] == 5


def test_standard_input_that_must_not_replace(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("x", b"old")
    monkeypatch.setattr(sys, "stdin", Input(b"piped"))
    assert server.run("put", "-", "--as", "x", "--overwrite", "never") == 0

    assert server.contents == {"x": b"old"}


def test_verbose_tells_of_each_file_and_the_total(
    server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "f").write_bytes(b"123")
    server.run("put", "f", "-v")

    file, total = capsys.readouterr().err.splitlines()
    assert file.startswith("f: 3 bytes, SHA-256 a665a459")
    assert total.startswith("1 file stored, 3 bytes in ")


def test_without_a_terminal_nothing_is_told(
    server: FakeServer, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "f").write_bytes(b"123")
    server.run("put", "f")

    assert capsys.readouterr() == ("", "")
