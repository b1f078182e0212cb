"""`python -m client` as a process: exit statuses, what is printed where, terminal and signals."""

import json
import os
import pty
import signal
import stat
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.peer.behaviour import Behaviour, Do, Fault
from tests.peer.server import PeerServer

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
COMMAND = [sys.executable, "-m", "client", "--protocol", "3"]


def client(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def prepare(directory: Path, server: PeerServer) -> None:
    (directory / "notes.txt").write_bytes(b"123456789")
    text = f"{server.host}:{server.port}\nalice\nnotes.txt\n"
    (directory / "transfer.info").write_text(text)


def test_the_batch_run_in_the_current_directory(tmp_path: Path) -> None:
    with PeerServer() as server:
        prepare(tmp_path, server)
        runs = [client(tmp_path), client(tmp_path)]
        server.settle()

        assert server.violations == []
        assert server.files == {("alice", "notes.txt"): b"123456789"}
        assert server.kinds.count("reconnect") == 1
    assert [(run.returncode, run.stdout, run.stderr) for run in runs] == [(0, "", "")] * 2
    modes = {name: (tmp_path / name).stat().st_mode for name in ("me.info", "priv.key")}
    assert {stat.S_IMODE(mode) for mode in modes.values()} == {0o600}


def test_general_errors_end_with_fatal_and_a_status(tmp_path: Path) -> None:
    with PeerServer(behaviour=Behaviour(general_errors={"register": 4})) as server:
        prepare(tmp_path, server)
        run = client(tmp_path)

    assert run.returncode == 5
    assert run.stdout == ""
    assert run.stderr.splitlines() == [
        *["server responded with an error"] * 4,
        "Fatal: registering 'alice' failed: the server answered with an error 4 times",
    ]


def test_without_transfer_info_the_status_is_2_and_the_message_says_why(tmp_path: Path) -> None:
    run = client(tmp_path)

    assert run.returncode == 2
    assert run.stderr == (
        "Fatal: transfer.info, line 1: no such file in '.'; write one, or use --server\n"
    )


def test_a_name_refused_is_status_4(tmp_path: Path) -> None:
    with PeerServer(behaviour=Behaviour(refuse_registration=True)) as server:
        prepare(tmp_path, server)

        assert client(tmp_path).returncode == 4


def test_a_server_that_is_not_there_is_status_3(tmp_path: Path) -> None:
    with PeerServer() as server:
        prepare(tmp_path, server)
    run = client(tmp_path, "--retries", "0")

    assert run.returncode == 3
    assert run.stderr.startswith("Fatal: cannot connect to 127.0.0.1:")


def test_json_is_all_there_is_on_stdout(tmp_path: Path) -> None:
    with PeerServer() as server:
        prepare(tmp_path, server)
        run = client(tmp_path, "--json", "notes.txt", "missing")

    assert run.returncode == 1
    failed, sent, summary = (json.loads(line) for line in run.stdout.splitlines())
    assert (failed["file"], failed["outcome"]) == ("missing", "failed")
    assert (sent["file"], sent["outcome"]) == ("notes.txt", "verified")
    assert (summary["verified"], summary["failed"], summary["status"]) == (1, 1, 1)


def test_a_reader_of_json_that_leaves_causes_no_traceback(tmp_path: Path) -> None:
    with PeerServer() as server:
        prepare(tmp_path, server)
        reading, writing = os.pipe()
        os.close(reading)
        try:
            run = subprocess.run(
                [*COMMAND, "--json"],
                cwd=tmp_path,
                env=ENVIRONMENT,
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            os.close(writing)

    assert run.returncode == 6
    assert run.stderr == "Fatal: standard output takes no more: Broken pipe\n"


@pytest.mark.parametrize(
    ("redirection", "status", "shown"),
    [(">&-", 6, "Fatal: standard output is closed\n"), ("2>&-", 0, "")],
)
def test_output_that_was_closed_from_the_start_causes_no_traceback(
    tmp_path: Path, redirection: str, status: int, shown: str
) -> None:
    with PeerServer() as server:
        prepare(tmp_path, server)
        run = subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, "--json", "--verbose"],
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert run.returncode == status
    assert run.stderr.endswith(shown)
    assert "Traceback" not in run.stderr


def on_terminal(directory: Path, *arguments: str, columns: int = 100) -> tuple[int, str]:
    """Status and output of a run whose stderr is a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=directory, env=ENVIRONMENT, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:
            pass  # how Linux tells that the other end has no more writers
        finally:
            os.close(ours)
    return process.returncode, shown.decode()


@pytest.mark.parametrize("columns", [0, 100])
def test_a_terminal_shows_a_progress_bar(tmp_path: Path, columns: int) -> None:
    with PeerServer() as server:
        prepare(tmp_path, server)
        status, shown = on_terminal(tmp_path, columns=columns)

    assert status == 0
    assert "notes.txt: 100%" in shown
    assert "B/s" in shown


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_a_terminal_stays_empty_when_asked_for(tmp_path: Path, option: str) -> None:
    with PeerServer() as server:
        prepare(tmp_path, server)
        status, shown = on_terminal(tmp_path, option)

    assert (status, shown) == (0, "")


@pytest.mark.parametrize("kind", ["register", "public_key", "send_file"])
def test_an_interrupt_is_one_line_without_a_traceback(tmp_path: Path, kind: str) -> None:
    with PeerServer(behaviour=Behaviour(faults=(Fault(Do.SILENCE, kind),))) as server:
        prepare(tmp_path, server)
        with subprocess.Popen(
            COMMAND, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
        ) as process:
            while kind not in server.kinds:
                assert process.poll() is None
                os.sched_yield()
            process.send_signal(signal.SIGINT)
            _, shown = process.communicate(timeout=60)

    assert process.returncode == 130
    assert shown == "warning: interrupted; files that were not acknowledged are to be sent again\n"
    left = {path.name for path in tmp_path.iterdir()} - {"notes.txt", "transfer.info"}
    assert (
        left
        == {
            "register": set(),
            "public_key": {"me.info.new"},
            "send_file": {"me.info", "priv.key"},
        }[kind]
    )


def test_the_interrupt_key_while_modules_are_loaded_is_no_traceback() -> None:
    code = """
import sys

class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == "client.commands.output":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupting())
from client.__main__ import main
sys.exit(main())
"""
    run = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stdout, run.stderr) == (130, "", "")


def test_what_was_told_is_out_when_the_process_ends() -> None:
    """It ends without the interpreter's end, which is where Python empties its buffers."""
    code = """
import sys
from client import __main__
def told():
    sys.stdout.write("out")
    sys.stderr.write("err")
    return 7
__main__.main = told
__main__.program()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )

    assert (run.returncode, run.stdout, run.stderr) == (7, "out", "err")
