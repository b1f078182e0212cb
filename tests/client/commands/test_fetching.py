"""`get` where nothing more can be written: it stops, tells it once, and keeps what it has."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from client.commands.running import run
from client.errors import ExitStatus
from tests.client.commands.fake import FakeServer
from tests.client.running4 import Server4, serving
from tests.faults.injection import Injected, filled, mounted, read_only

ROOT = Path(__file__).parents[3]
SMALL = b"small"
# Root may write where it has no leave to, unless it gives that right up.
AS_ANYBODY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


@pytest.fixture
def server(tmp_path: Path, work: Path) -> Iterator[Server4]:
    """A server that has four files of alice's."""
    with serving(tmp_path / "data of the server") as server:
        eft = ["--server", server.address, "--quiet"]
        assert run([*eft, "register", "alice", "--fingerprint", server.fingerprint]) == 0
        source = work / "source"
        source.mkdir()
        for name in ("a", "c", "d"):
            (source / name).write_bytes(SMALL)
        (source / "b").write_bytes(bytes(2 << 20))
        assert run([*eft, "put", "source/"]) == 0
        yield server


def fetch(server: Server4, *arguments: str) -> int:
    return run(["--server", server.address, "get", "-r", "/", "in", *arguments])


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_full_disk_stops_it(
    server: Server4, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(work / "in", 1 << 20):
        assert fetch(server, "--json") == ExitStatus.NOT_WRITTEN
        assert names(work / "in") == {"a"}
        assert (work / "in" / "a").read_bytes() == SMALL

    told = capsys.readouterr()
    line = "'in/b' cannot be written: No space left on device; stopped with 2 files left to fetch"
    assert told.err == f"Fatal: {line}\n"
    *rows, summary = (json.loads(line) for line in told.out.splitlines())
    assert [(row["name"], row["outcome"]) for row in rows] == [
        ("a", "verified"), ("b", "failed"), ("c", "unsent"), ("d", "unsent")
    ]  # fmt: skip
    assert (summary["status"], summary["error"]) == (ExitStatus.NOT_WRITTEN, line)


def _full(directory: Path) -> AbstractContextManager[object]:
    stack = ExitStack()
    stack.enter_context(mounted(directory, 1 << 20))
    stack.enter_context(filled(directory))
    return stack


def _read_only(directory: Path) -> AbstractContextManager[Injected]:
    directory.mkdir()
    return read_only(directory)


@pytest.mark.parametrize("place", [_full, _read_only])
def test_where_nothing_can_be_written_the_first_file_is_told_of(
    server: Server4, work: Path, capsys: pytest.CaptureFixture[str], place: object
) -> None:
    assert callable(place)
    with place(work / "in"):
        assert fetch(server) == ExitStatus.NOT_WRITTEN

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Fatal: 'in/a' cannot be written: ")
    assert line.endswith("; stopped with 3 files left to fetch")


def as_anybody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The client, run without root's right to write anywhere."""
    return subprocess.run(
        [*(() if os.geteuid() else AS_ANYBODY), sys.executable, "-m", "client", *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("mode", [0o555, 0])
def test_a_directory_that_may_not_be_used_keeps_nothing_from_the_others(
    server: Server4, work: Path, mode: int
) -> None:
    (work / "in" / "shut").mkdir(parents=True)
    for name in ("shut/e", "shut/new/f"):
        assert run(["--server", server.address, "put", "source/a", "--as", name]) == 0
    (work / "in" / "shut").chmod(mode)
    done = as_anybody("--server", server.address, "get", "-r", "/", "in")
    (work / "in" / "shut").chmod(0o755)

    assert done.returncode == ExitStatus.FILE_FAILED
    assert done.stderr.splitlines() == [
        f"Fatal: 'in/shut/{name}' cannot be written: Permission denied" for name in ("e", "new/f")
    ]
    assert names(work / "in") == {"a", "b", "c", "d", "shut"}


@pytest.mark.parametrize("place", [_full, _read_only])
def test_a_mount_below_without_room_keeps_nothing_from_the_others(
    work: Path, capsys: pytest.CaptureFixture[str], place: object
) -> None:
    assert callable(place)
    server = FakeServer()
    for name in ("a", "b/1", "b/2", "b/new/3", "c"):
        server.add(name, SMALL)
    (work / "in").mkdir()
    with place(work / "in" / "b"):
        assert server.run("get", "-r", "/", "in", "--json") == ExitStatus.NOT_WRITTEN

    assert names(work / "in") == {"a", "b", "c"}
    told = capsys.readouterr()
    first, last = told.err.splitlines()
    assert first.startswith("Fatal: 'in/b/1' cannot be written: ")
    assert last == "Fatal: there was no room for all; 2 files left to fetch"
    *rows, _ = (json.loads(line) for line in told.out.splitlines())
    assert [(row["name"], row["outcome"]) for row in rows] == [
        ("a", "verified"), ("b/1", "failed"), ("c", "verified"), ("b/2", "unsent"),
        ("b/new/3", "unsent"),
    ]  # fmt: skip


def test_no_directory_can_be_made_where_there_is_no_room(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = FakeServer()
    for name in ("x/a", "x/b"):
        server.add(name, SMALL)
    (work / "in").mkdir()
    with read_only(work / "in"):
        assert server.run("get", "-r", "x", "in") == ExitStatus.NOT_WRITTEN

    assert capsys.readouterr().err == (
        "Fatal: 'in/x/a' cannot be written: Read-only file system;"
        " stopped with 1 file left to fetch\n"
    )
