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


@pytest.mark.parametrize("below", [False, True])
def test_a_directory_that_may_not_be_written_to_stops_it_unless_one_below_may(
    server: Server4, work: Path, *, below: bool
) -> None:
    target = work / "in"
    target.mkdir()
    if below:
        (work / "source" / "sub").mkdir()
        (work / "source" / "sub" / "e").write_bytes(SMALL)
        assert run(["--server", server.address, "put", "source/"]) == 0
        (target / "sub").mkdir()
    target.chmod(0o555)
    command = [sys.executable, "-m", "client", "--server", server.address, "get", "-r", "/", "in"]
    done = subprocess.run(
        [*(() if os.geteuid() else AS_ANYBODY), *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    first = "Fatal: 'in/a' cannot be written: Permission denied"
    if below:
        assert done.returncode == ExitStatus.FILE_FAILED
        assert done.stderr.splitlines()[0] == first
        assert len(done.stderr.splitlines()) == 4
        assert (target / "sub" / "e").read_bytes() == SMALL
    else:
        assert done.returncode == ExitStatus.NOT_WRITTEN
        assert done.stderr == f"{first}; stopped with 3 files left to fetch\n"


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
