"""From arguments to files and names."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.walking import Found, Skipped, walk


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "photos" / "2024" / "raw").mkdir(parents=True)
    (tmp_path / "photos" / "a.jpg").write_bytes(b"a")
    (tmp_path / "photos" / "2024" / "b.jpg").write_bytes(b"bb")
    (tmp_path / "photos" / "2024" / "raw" / "b.raw").write_bytes(b"bbb")
    (tmp_path / "notes.txt").write_bytes(b"note")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(found: Iterator[Found | Skipped]) -> list[str]:
    results = list(found)
    assert not [result for result in results if isinstance(result, Skipped)]
    return [result.name for result in results if isinstance(result, Found)]


ALL = ["a.jpg", "2024/b.jpg", "2024/raw/b.raw"]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("photos", [f"photos/{name}" for name in ALL]),
        ("./photos", [f"photos/{name}" for name in ALL]),
        ("photos/", ALL),
        ("photos//", ALL),
        ("photos/.", ALL),
        ("photos/2024/..", ALL),
        ("photos/2024", ["2024/b.jpg", "2024/raw/b.raw"]),
        ("notes.txt", ["notes.txt"]),
        ("photos/a.jpg", ["a.jpg"]),
        (".", ["notes.txt", *(f"photos/{name}" for name in ALL)]),
    ],
)
def test_names_are_those_of_rsync(argument: str, expected: list[str]) -> None:
    assert names(walk([argument])) == expected


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("prefix", ["in/box", "in/box/", "/in/box"])
def test_the_prefix_comes_before_every_name(prefix: str) -> None:
    found = names(walk(["notes.txt", "photos/"], prefix=prefix))

    assert found == ["in/box/notes.txt", *(f"in/box/{name}" for name in ALL)]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.raw", ["photos/a.jpg", "photos/2024/b.jpg"]),
        ("2024", ["photos/a.jpg"]),
        ("2024/", ["photos/a.jpg"]),
        ("a.jpg/", [f"photos/{name}" for name in ALL]),
        ("photos/2024/b.*", ["photos/a.jpg", "photos/2024/raw/b.raw"]),
        ("photos", []),
        ("[!a].jpg", ["photos/a.jpg", "photos/2024/raw/b.raw"]),
    ],
)
def test_exclude_matches_base_names_and_paths(pattern: str, expected: list[str]) -> None:
    assert names(walk(["photos"], exclude=[pattern])) == expected


@pytest.mark.usefixtures("tree")
def test_exclude_matches_files_that_were_named() -> None:
    assert names(walk(["notes.txt", "photos/a.jpg"], exclude=["*.txt"])) == ["a.jpg"]


def test_links_inside_are_skipped_and_loops_harmless(tree: Path) -> None:
    (tree / "photos" / "2024" / "raw" / "b.raw").unlink()
    (tree / "photos" / "loop").symlink_to(tree / "photos")
    (tree / "photos" / "file").symlink_to(tree / "notes.txt")
    (tree / "photos" / "self").symlink_to("self")

    results = list(walk(["photos/"]))

    skipped = [result for result in results if isinstance(result, Skipped)]
    assert [result.path.name for result in skipped] == ["file", "loop", "self"]
    assert {(result.reason, result.failed) for result in skipped} == {("a symbolic link", False)}
    assert len(results) == 5


def test_a_link_that_was_named_is_followed(tree: Path) -> None:
    (tree / "today").symlink_to("notes.txt")
    (tree / "album").symlink_to("photos")

    assert names(walk(["today", "album"])) == ["today", *(f"album/{name}" for name in ALL)]


def test_special_files_in_a_directory_are_skipped(tree: Path) -> None:
    os.mkfifo(tree / "photos" / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("photos/socket")
        results = [result for result in walk(["photos"]) if isinstance(result, Skipped)]

    assert [result.path.name for result in results] == ["pipe", "socket"]
    assert not any(result.failed for result in results)


def test_a_special_file_that_was_named_has_failed(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (result,) = walk(["pipe"])

    assert result == Skipped(Path("pipe"), "not a regular file", failed=True)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("argument", "reason"),
    [
        ("missing", "No such file or directory"),
        ("notes.txt/", "Not a directory"),
        ("nul\0", "embedded null byte"),
        ("", "an empty path"),
    ],
)
def test_what_cannot_be_had_has_failed(argument: str, reason: str) -> None:
    (result, after) = walk([argument, "notes.txt"])

    assert isinstance(result, Skipped)
    assert (result.reason, result.failed) == (reason, True)
    assert isinstance(after, Found)


@pytest.mark.usefixtures("tree")
def test_a_directory_that_cannot_be_read_does_not_stop_the_walk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = os.scandir

    def scandir(path: Path) -> Iterator[os.DirEntry[str]]:
        if path.name == "2024":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    results = list(walk(["photos", "notes.txt"]))

    assert [result.path.name for result in results] == ["a.jpg", "2024", "notes.txt"]
    assert results[1] == Skipped(Path("photos/2024"), "Permission denied", failed=True)


@pytest.mark.parametrize("name", ["line\nbreak", "\u202etxt.exe", os.fsdecode(b"latin\xe9")])
def test_a_name_that_is_not_allowed_has_failed(tree: Path, name: str) -> None:
    (tree / "photos" / "2024" / name).write_bytes(b"")

    bad = [result for result in walk(["photos"]) if isinstance(result, Skipped)]

    assert [(result.path.name, result.failed) for result in bad] == [(name, True)]


def test_names_are_not_normalised(tree: Path) -> None:
    for name in ("u\u0308", "\u00fc"):
        (tree / "photos" / "2024" / name).write_bytes(b"")

    assert names(walk(["photos/2024/"])) == ["b.jpg", "u\u0308", "\u00fc", "raw/b.raw"]


def test_deep_trees_do_not_exhaust_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path.joinpath(*["d"] * 400)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"")
    monkeypatch.chdir(tmp_path)

    assert names(walk(["d"])) == ["d/" * 400 + "f"]
