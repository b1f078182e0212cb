"""The program as people see it: a process, at a terminal or not, and a real server."""

import json
import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.running4 import Server4, serving

ROOT = Path(__file__).parents[3]
OTHER = "SHA256:" + "B" * 42 + "A"
# The terminal becomes the controlling one, as a shell's child has it.
AT_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
from client.commands.running import main
sys.exit(main())
"""


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Server4]:
    with serving(tmp_path / "data of the server") as server:
        yield server


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"} | more


def eft(server: Server4, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "client", *arguments],
        env=environment(EFT_SERVER=server.address, **more),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # so that the terminal of whoever runs the tests is not asked
        text=True,
        timeout=60,
        check=False,
    )


class Terminal:
    """A run at a terminal of its own; `type` what is to be typed once `shown` has a text."""

    def __init__(self, server: Server4, *arguments: str, piped: bytes | None = None) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))
        self._process = subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *arguments],
            env=environment(EFT_SERVER=server.address),
            stdin=theirs if piped is None else subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        # Beside the rest: a pipe holds little, and nobody reads before the question is answered.
        self._writer = threading.Thread(target=self._write, args=(piped or b"",), daemon=True)
        self._writer.start()
        self.shown = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _write(self, piped: bytes) -> None:
        if self._process.stdin is not None:
            with self._process.stdin as stream:
                stream.write(piped)

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 4096):
                self.shown += data.decode(errors="replace")
        except OSError:
            pass  # how Linux tells that the other end has no more writers

    def type(self, after: str, text: str) -> None:
        deadline = time.monotonic() + 30
        while after not in self.shown:
            assert time.monotonic() < deadline, self.shown
            time.sleep(0.01)
        os.write(self._ours, text.encode())

    def end(self) -> int:
        status = self._process.wait(timeout=60)
        self._writer.join(timeout=10)
        self._reader.join(timeout=10)
        os.close(self._ours)
        return status


@pytest.fixture
def known(real: Server4) -> Server4:
    """The server, where this client is registered as alice."""
    assert eft(real, "register", "alice", "--fingerprint", real.fingerprint).returncode == 0
    return real


def test_an_unknown_server_is_a_hard_stop_without_a_terminal(real: Server4) -> None:
    done = eft(real, "register", "alice")

    assert (done.returncode, done.stdout) == (7, "")
    assert real.fingerprint in done.stderr
    assert eft(real, "trust", "list").stdout == ""


@pytest.mark.parametrize("answers", [["yes"], ["Yes"], ["perhaps", "{fingerprint}"]])
def test_the_question_at_first_use_and_a_secret_token(real: Server4, answers: list[str]) -> None:
    terminal = Terminal(real, "register", "alice")
    terminal.type("anybody): ", "\n")
    terminal.type("(yes/no/[fingerprint])? ", answers[0] + "\n")
    for answer in answers[1:]:
        terminal.type(
            "'no' or the fingerprint: ", answer.format(fingerprint=real.fingerprint) + "\n"
        )

    assert terminal.end() == 0
    assert f"The authenticity of server {real.address} can't be established." in terminal.shown
    assert f"fingerprint of its certificate is {real.fingerprint}." in terminal.shown
    assert eft(real, "trust", "list").stdout == f"{real.address} {real.fingerprint}\n"
    assert eft(real, "whoami").returncode == 0


@pytest.mark.parametrize("answer", ["no\n", "\n", "\x04", f"{OTHER}\nno\n"])
def test_no_is_the_end(real: Server4, answer: str) -> None:
    terminal = Terminal(real, "register", "alice")
    terminal.type("anybody): ", "\n")
    terminal.type("(yes/no/[fingerprint])? ", answer)

    assert terminal.end() == 7
    assert eft(real, "trust", "list").stdout == ""


def test_a_token_is_not_shown_when_typed(real: Server4) -> None:
    terminal = Terminal(real, "register", "alice", "--fingerprint", real.fingerprint)
    terminal.type("anybody): ", "my secret token\n")
    terminal.end()

    assert "secret token" not in terminal.shown


def test_a_server_that_has_changed_is_a_hard_stop(known: Server4, work: Path) -> None:
    (work / "f").write_bytes(b"f")
    eft(known, "trust", "add", known.address, OTHER)
    terminal = Terminal(known, "put", "f")

    assert terminal.end() == 7
    assert "WARNING: THE SERVER'S CERTIFICATE HAS CHANGED!" in terminal.shown
    assert f"presented: {known.fingerprint}" in terminal.shown
    assert "yes/no" not in terminal.shown


def test_standard_input_may_be_a_pipe_while_the_terminal_is_asked(
    known: Server4, work: Path
) -> None:
    eft(known, "trust", "remove", known.address)
    terminal = Terminal(known, "put", "-", "--as", "piped", piped=b"x" * 3_000_000)
    terminal.type("(yes/no/[fingerprint])? ", "yes\n")

    assert terminal.end() == 0
    assert eft(known, "get", "piped", ".").returncode == 0
    assert (work / "piped").stat().st_size == 3_000_000


def plant(work: Path) -> Path:
    (work / "tree" / "sub").mkdir(parents=True)
    for number in range(40):
        (work / "tree" / "sub" / f"small {number}").write_bytes(bytes([number]) * number)
    for number in range(3):
        (work / "tree" / f"large {number}").write_bytes(bytes([number]) * 3_000_000)
    os.utime(work / "tree" / "large 0", ns=(1, 1_234_567_890_123_456_789))
    (work / "tree" / "large 1").chmod(0o750)
    return work / "tree"


def contents(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    return {
        str(path.relative_to(directory)): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_tree_there_and_back(known: Server4, work: Path, jobs: str) -> None:
    tree = plant(work)
    done = eft(known, "put", "tree", "--to", "in", "--jobs", jobs, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    *rows, summary = (json.loads(line) for line in done.stdout.splitlines())
    assert {row["outcome"] for row in rows} == {"verified"}
    assert (summary["verified"], summary["bytes"]) == (43, 9_000_000 + sum(range(40)))

    assert eft(known, "get", "-r", "in/", "back").returncode == 0
    assert contents(work / "back" / "tree") == contents(tree)
    verified = eft(known, "receipts", "verify")
    assert (verified.returncode, len(verified.stdout.splitlines())) == (0, 43)
    again = json.loads(
        eft(
            known, "put", "tree", "--to", "in", "--overwrite", "if-newer", "--json"
        ).stdout.splitlines()[-1]
    )
    assert (again["skipped"], again["status"]) == (43, 0)


def test_a_terminal_shows_bars_and_totals(known: Server4, work: Path) -> None:
    plant(work)
    sending = Terminal(known, "put", "tree", "--jobs", "2", "--limit-rate", "8M")
    assert sending.end() == 0
    assert re.search(r"sending \d+/43: +\d+%", sending.shown)
    assert re.search(r"tree/large \d: +\d+%", sending.shown)
    assert re.search(r"43 files stored, 8\.6 MiB in \d+\.\d s", sending.shown)

    fetching = Terminal(known, "get", "-r", "tree", "back")
    assert fetching.end() == 0
    assert re.search(r"fetching \d+/43: +\d+%", fetching.shown)
    assert "43 files fetched" in fetching.shown


def test_quiet_shows_nothing(known: Server4, work: Path) -> None:
    plant(work)
    terminal = Terminal(known, "put", "tree", "-q")

    assert (terminal.end(), terminal.shown) == (0, "")


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_the_interrupt_key_is_one_line_and_the_rest_can_follow(
    known: Server4, work: Path, jobs: str
) -> None:
    plant(work)
    terminal = Terminal(
        known, "put", "tree", "--jobs", jobs, "--limit-rate", "600k", "--retries", "0"
    )
    terminal.type("tree/large", "\x03")

    assert terminal.end() == 130
    assert "Traceback" not in terminal.shown
    assert terminal.shown.count("interrupted") == 1
    assert eft(known, "put", "tree").returncode == 0
    assert len(eft(known, "ls").stdout.splitlines()) == 43


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_rm_recursive_asks(known: Server4, work: Path, answer: str) -> None:
    plant(work)
    eft(known, "put", "tree")
    terminal = Terminal(known, "rm", "-r", "tree/sub")
    terminal.type("Remove 40 files below tree/sub (yes/no)? ", f"{answer}\n")

    assert terminal.end() == (0 if answer == "yes" else 2)
    assert len(eft(known, "ls").stdout.splitlines()) == (3 if answer == "yes" else 43)


def test_a_reader_that_leaves_is_no_failure_to_talk_about(known: Server4, work: Path) -> None:
    plant(work)
    eft(known, "put", "tree/sub")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "client", "ls"],
            env=environment(EFT_SERVER=known.address),
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (6, b"")


def test_the_batch_run(real: Server4, work: Path) -> None:
    (work / "notes.txt").write_bytes(b"123456789")
    (work / "transfer.info").write_text(f"{real.address}\nalice\nnotes.txt\n")
    assert eft(real).returncode == 7
    first = eft(real, "--fingerprint", real.fingerprint)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    assert eft(real).returncode == 0

    assert eft(real, "ls", "--directory", ".").stdout == "notes.txt\n"
    assert len(eft(real, "receipts", "verify", "--directory", ".").stdout.splitlines()) >= 1
    assert eft(real, "whoami").returncode == 2, "the state is beside transfer.info"


def test_the_batch_run_over_protocol_3_warns_of_nothing_on_this_machine(
    real: Server4, work: Path
) -> None:
    (work / "notes.txt").write_bytes(b"123456789")
    (work / "transfer.info").write_text(f"{real.address}\nbob\nnotes.txt\n")
    done = eft(real, "--protocol", "3")

    assert (done.returncode, done.stderr) == (0, "")


def test_who_waits_for_another_try_knows_what_for(tmp_path: Path) -> None:
    with serving(tmp_path / "data") as server:
        done = eft(server, "register", "alice", "--fingerprint", server.fingerprint)
        assert done.returncode == 0
    waiting = eft(server, "whoami", "--retries", "1")
    quiet = eft(server, "whoami", "--retries", "1", "--quiet")

    delay, fatal = waiting.stderr.splitlines()
    refused = f"cannot connect to {server.address}: Connection refused; is the server running?"
    assert re.fullmatch(re.escape(refused) + r"; trying again in 0\.\d s \(1 of 1\)", delay)
    assert fatal == f"Fatal: {refused}"
    assert quiet.stderr.splitlines() == [fatal]


@pytest.mark.parametrize(
    ("redirection", "arguments", "status"),
    [
        (">&-", ["ls"], 6),
        (">&-", ["ls", "--json"], 6),
        (">&-", ["get", "f", "-"], 6),
        (">&-", ["put", "f"], 0),
        ("2>&-", ["put", "f", "-v"], 0),
        ("2>&-", ["get", "f", "g", "-v"], 0),
        ("<&-", ["put", "-", "--as", "x"], 2),
        (">/dev/full", ["ls"], 6),
        (">/dev/full", ["get", "f", "-"], 6),
    ],
)
def test_streams_that_are_closed_or_full(
    known: Server4, work: Path, redirection: str, arguments: list[str], status: int
) -> None:
    (work / "f").write_bytes(b"f")
    eft(known, "put", "f")
    command = [sys.executable, "-m", "client", *arguments]
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
        env=environment(EFT_SERVER=known.address),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, "Traceback" in done.stderr) == (status, False)
