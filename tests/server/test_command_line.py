"""`python -m server`: what it answers, its exit status, and never a traceback."""

import dataclasses
import io
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import protocol
from server import inspection, serving
from server.__main__ import main
from server.config import Config
from server.repository import Action, Client
from server.serving import serve
from tests.server import commands
from tests.server.on_disk import OnDisk
from tests.server.running import settings_for_tests

LOOPBACK = ("--host", "127.0.0.1", "--port", "0")


@pytest.fixture(autouse=True)
def logger() -> Iterator[None]:
    """The server's logger, as it was afterwards."""
    logger = logging.getLogger("server")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The test runner's own signal handlers, as they were afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory and no settings in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("EFT_"):
            monkeypatch.delenv(name)


def _status(*arguments: str) -> int:
    """The exit status, however it is reached."""
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else -1


# Help and misuse


def test_help_lists_every_setting_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("--help") == 0
    words = capsys.readouterr().out.split()
    expected = {"--" + setting.name.replace("_", "-") for setting in dataclasses.fields(Config)}
    commands_of_it = {"fingerprint", "token", "clients", "files"}
    assert expected | {"--config"} | commands_of_it <= set(words)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("--version") == 0
    assert capsys.readouterr().out == f"{protocol.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-flag"],
        ["--max-conn", "5"],
        ["--port"],
        ["--allow-protocol-3=yes"],
        ["serve"],
        ["clients"],
        ["clients", "remove"],
        ["clients", "show"],
        ["clients", "disable"],
        ["clients", "remove", "--yes"],
        ["token"],
        ["token", "revoke"],
        ["token", "create", "--expires", "24"],
        ["token", "create", "--expires", "0s"],
        ["token", "create", "--expires", "-1h"],
        ["token", "create", "--expires", "11 years"],
        ["token", "create", "--expires", "3651d"],
        ["fingerprint", "--no-such-flag"],
        ["files", "show", "Alice"],
        ["files"],
        ["files", "remove"],
        ["files", "export"],
        ["files", "list", "--no-such-flag"],
    ],
    ids=" ".join,
)
def test_misuse_is_explained_and_ends_with_status_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: python -m server")


def test_a_setting_behind_the_command_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _status("clients", "list", "--data", "d") == 2
    usage, error = capsys.readouterr().err.splitlines()
    assert usage == "usage: python -m server [SETTING...] [COMMAND ...]"
    assert error.endswith("unrecognized arguments: --data d; settings go before the command")

    assert _status("--no-such-setting") == 2
    assert capsys.readouterr().err.endswith("unrecognized arguments: --no-such-setting\n")


def test_the_usage_of_a_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("token", "create", "--expires", "0s") == 2
    assert capsys.readouterr().err.startswith("usage: python -m server token create [-h]")


def test_help_names_the_kind_of_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert _status("--help") == 0
    text = capsys.readouterr().out
    for option in ("--upload-days DAYS", "--grace-seconds SECONDS", "--data PATH", "--port N"):
        assert option in text


@pytest.mark.parametrize("command", ["token create", "clients list"])
def test_a_command_whose_answer_nobody_could_read_does_nothing(
    tmp_path: Path, command: str
) -> None:
    with OnDisk(tmp_path) as server:
        finished = subprocess.run(
            ["sh", "-c", f'exec "$0" -m server --data {server.config.data} {command} >&-',
             sys.executable],
            env=commands.environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert list(server.repository.tokens()) == []

    assert finished.returncode == 1
    assert finished.stderr == "error: standard output is closed, which the answer goes to\n"


def _full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def _unread() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def _told_into(output: int, data: Path, *command: str) -> tuple[int, str]:
    """The exit status and the standard error of a command with this standard output."""
    finished = subprocess.run(
        commands.command("--data", str(data), *command), env=commands.environment(),
        stdout=output, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(output)
    return finished.returncode, finished.stderr


@pytest.mark.parametrize(
    ("output", "cause"), [(_full, "No space left on device"), (_unread, "Broken pipe")]
)
def test_a_token_that_cannot_be_printed_is_not_kept(
    tmp_path: Path, output: Callable[[], int], cause: str
) -> None:
    with OnDisk(tmp_path) as server:
        told = _told_into(output(), server.config.data, "token", "create")
        assert list(server.repository.tokens()) == []
        actions = [event.action for event in server.repository.events()]

    text = f"error: standard output takes no more: {cause}; the token was removed again\n"
    assert told == (1, text)
    assert actions == [Action.TOKEN_CREATED, Action.TOKEN_REVOKED]


def test_what_was_changed_is_in_the_trail_though_the_answer_cannot_be_written(
    tmp_path: Path,
) -> None:
    with OnDisk(tmp_path) as server:
        server.repository.add_client(Client(b"c" * 16, "alice", 0, 0))
        told = _told_into(_full(), server.config.data, "clients", "disable", "alice")
        (event,) = server.repository.events()

    assert told == (1, "error: standard output takes no more: No space left on device\n")
    assert event.action is Action.CLIENT_DISABLED


# Unusable settings


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (["--port=http"], "--port: 'http' is not a whole number from 0 to 65535"),
        (["--max-file-bytes=much"], "--max-file-bytes: 'much' is not a size"),
        (["--config=missing.toml"], "cannot read missing.toml: No such file"),
        (["--data=/dev/null/data"], "data directory /dev/null/data: Not a directory"),
        (["--database=postgres://a/b"], "the database URL is not of the form"),
        (["--database=mysql://a:secret@b/c"], "the database URL contains a password"),
        (["--database=sqlite:////proc/x"], "database /proc/x: No such file or directory"),
        (["--database-password-file=missing"], "cannot read missing: No such file"),
        (["--host=192.0.2.1"], "cannot listen on 192.0.2.1 port 0"),
        (["--host=192.0.2.1", "--allow-protocol-3"], "cannot listen on 192.0.2.1 port 0"),
        (["--certificate=mine.pem"], "give both --certificate and --certificate-key"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_unusable_setting_is_told_in_one_line(
    arguments: list[str], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(*LOOPBACK, "--log-level=error", *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert cause in line
    assert "secret" not in line


def test_an_unusable_variable_is_told_in_one_line(tmp_path: Path) -> None:
    finished = commands.run(tmp_path, "--port=0", EFT_IDLE_SECONDS="nan")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert (
        finished.stderr == "error: EFT_IDLE_SECONDS: 'nan' is not a number of seconds, 0 or more\n"
    )


def test_a_variable_that_is_not_utf_8_is_told_in_one_line(tmp_path: Path) -> None:
    finished = commands.run(tmp_path, "--port=0", EFT_LOG_LEVEL=os.fsdecode(b"\xff"))
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[1:] == []


def test_a_port_that_is_taken_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert _status("--log-level=error", "--port", port) == 1
    assert capsys.readouterr().err == (
        f"error: cannot listen on 127.0.0.1 port {port}: Address already in use\n"
    )


def test_a_data_directory_in_use_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OnDisk(tmp_path / "eft-data"):
        assert _status(*LOOPBACK) == 1
    assert capsys.readouterr().err == (
        "error: data directory eft-data is in use by another server: stop it or use another one\n"
    )


def test_a_key_file_that_others_may_read_is_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "eft-data").mkdir()
    (tmp_path / "eft-data" / "server.key").write_bytes(bytes(32))
    (tmp_path / "eft-data" / "server.key").chmod(0o644)
    assert _status(*LOOPBACK) == 1
    assert "is open to others: chmod 600" in capsys.readouterr().err


# Serving


class _Terminal(io.StringIO):
    """A standard output whose reader presses Ctrl+C once the server listens."""

    def write(self, text: str) -> int:
        if text.startswith("listening"):
            os.kill(os.getpid(), signal.SIGINT)
        return super().write(text)


def test_the_command_serves_until_it_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert _status(*LOOPBACK) == 0
    assert re.fullmatch(
        r"certificate SHA256:[0-9A-Za-z+/]{43}\n"
        r"listening on 127\.0\.0\.1 port \d+, files in eft-data\n",
        terminal.getvalue(),
    )


def test_what_was_opened_is_closed_when_the_server_ends(tmp_path: Path) -> None:
    config = settings_for_tests(tmp_path / "data")
    for _ in range(2):
        assert serve(config, lambda _text: os.kill(os.getpid(), signal.SIGTERM)) == 0


def test_an_ipv6_address_is_announced_in_brackets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not every machine that runs the tests has IPv6, so the listener keeps to 127.0.0.1.
    listening = serving.listening

    @contextmanager
    def on_ipv4(config: Config, given_up: Callable[[], bool]) -> Iterator[Any]:
        with listening(dataclasses.replace(config, host="127.0.0.1"), given_up) as listener:
            yield listener

    announced: list[str] = []

    def announce(text: str) -> None:
        announced.append(text)
        if text.startswith("listening"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(serving, "listening", on_ipv4)
    serve(settings_for_tests(tmp_path / "data", host="::1"), announce)
    assert announced[1].startswith("listening on [::1] port ")


# Commands


@pytest.fixture
def kept(tmp_path: Path) -> None:
    """A file `a` of client `Alice` in the default data directory."""
    with OnDisk(tmp_path / "eft-data") as server:
        server.register()
        server.keep("a", b"content")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["clients", "list"], "Alice"),
        (["clients", "list", "--json"], '"name": "Alice"'),
        (["clients", "show", "Alice", "--json"], '"name": "Alice"'),
        (["clients", "disable", "Alice"], "disabled Alice"),
        (["clients", "remove", "Alice", "--yes"], "removed Alice and 1 files"),
        (["files", "list"], "Alice/a"),
        (["files", "show", "Alice", "a", "--json"], '"size": 7'),
        (["fingerprint"], "SHA256:"),
        (["files", "list", "--json", "--client", "Alice"], '"name": "a"'),
        (["files", "export", "out"], "out/Alice/a"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_prints_its_answer_and_nothing_else(
    arguments: list[str], printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(*arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    (line,) = captured.out.splitlines()
    assert printed in line


@pytest.mark.usefixtures("kept")
def test_an_interrupted_command_ends_like_one_that_a_signal_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_config: Config) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inspection, "open_existing", interrupt)
    assert _status("clients", "list") == 130
    assert capsys.readouterr().err == ""
