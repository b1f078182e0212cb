"""The command line as a whole: parsing, which server, which run, output."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client.commands import batch, running
from client.commands.options import size
from client.commands.output import amount, printable
from client.commands.parser import COMMANDS, parse
from client.commands.running import run
from client.errors import ExitStatus, ServerChanged
from tests.client.commands.fake import FINGERPRINT, SERVER, FakeServer
from tests.client.test_report import Gone


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse([command, "--help"])

    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert len(shown.splitlines()) > 10


@pytest.mark.parametrize("argv", [["--help"], ["--help", "put"], ["--server", "put", "--help"]])
def test_help_tells_of_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(argv)

    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name} " not in shown] == []


def test_a_wrong_command_is_told_all_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["put-back", "ls"])

    shown = capsys.readouterr().err
    assert [name for name in COMMANDS if f"'{name}'" not in shown] == []


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["--server", "ls", "put", "rm"], "put"),
        (["--directory", "put", "ls"], "ls"),
        (["--directory", "put"], None),
        ([], None),
    ],
)
def test_values_that_read_like_commands_are_values(argv: list[str], command: str | None) -> None:
    arguments = parse(argv)

    assert arguments.command == command
    assert (arguments.run is batch.run) == (command is None)


def test_a_put_does_not_wait_for_modules_that_it_does_not_use(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    script = (
        "import sys; from client.__main__ import main; import client.api; status = main();"
        "print(status, *sorted(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "put", "--dry-run", "file"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    status, *modules = done.stdout.split("\n")[-2].split()

    assert status == "0"
    assert "client.sending" in modules
    unused = (
        "client.downloading", "encodings.idna", "fastcrc", "protocol.messages3", "queue", "shlex",
        "shutil", "tempfile", "tqdm",
    )  # fmt: skip
    assert [name for name in unused if name in modules] == []


@pytest.mark.parametrize(
    "argv",
    [
        ["--timeout", "5", "--json", "ls", "x"],
        ["ls", "--timeout", "5", "x", "--json"],
        ["--json", "ls", "--timeout", "5", "x"],
    ],
)
def test_common_options_stand_before_or_behind_the_command(argv: list[str]) -> None:
    arguments = parse(argv)

    assert (arguments.timeout, arguments.json_lines, arguments.names) == (5.0, True, ["x"])
    assert (arguments.retries, arguments.quiet) == (4, False)


def test_a_token_file_before_the_command_counts() -> None:
    assert parse(["--token-file", "f", "register", "bob"]).token_file == Path("f")


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["put"],
        ["mv", "a"],
        ["--protocol", "5"],
        ["put", "x", "--jobs", "0"],
        ["put", "x", "--jobs", "65"],
        ["put", "x", "--limit-rate", "0"],
        ["put", "x", "--limit-rate", "fast"],
        ["put", "x", "--overwrite", "sometimes"],
        ["ls", "--timeout", "0"],
        ["ls", "--timeout", "nan"],
        ["ls", "--timeout", "1e300"],
        ["ls", "--timeout", "soon"],
        ["ls", "--retries", "-1"],
        ["completion", "fish"],
    ],
)
def test_wrong_usage_has_the_status_of_bad_input(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(argv)

    assert caught.value.code == ExitStatus.BAD_INPUT


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", 1), ("1k", 1024), ("1.5M", 3 << 19), ("2GiB", 2 << 30), ("7 ", 7), ("1T", 1 << 40)],
)
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 bytes"), (1, "1 byte"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")],
)
def test_amounts(count: int, expected: str) -> None:
    assert amount(count) == expected


def test_printable() -> None:
    assert printable("a\x1b\n\u202e\udce9\u00fc b") == "a\\x1b\\n\\u202e\\udce9\u00fc b"


def served(*argv: str) -> tuple[int, str, dict[str, Any]]:
    """Status, server and options of `ls` with these arguments."""
    server = FakeServer()
    status = run(["ls", *argv], server.connect)
    return status, (server.servers or [""])[0], (server.options or [{}])[0]


def test_which_server(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (work / "d").mkdir()
    (work / "d" / "transfer.info").write_text("from.info:1\n")
    run(["trust", "add", "known:1", FINGERPRINT])
    assert served()[1] == "known:1"
    assert served("--directory", "d")[1] == "from.info:1"
    monkeypatch.setenv("EFT_SERVER", "environment:1")
    assert served("--directory", "d")[1] == "environment:1"
    assert served("--directory", "d", "--server", "argument:1")[1] == "argument:1"


def test_no_server(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert served()[:2] == (ExitStatus.BAD_INPUT, "")
    assert "no server is known yet" in capsys.readouterr().err
    # Whoever can write to the current directory does not decide where files go.
    (work / "transfer.info").write_text("evil:1\n")
    assert served()[:2] == (ExitStatus.BAD_INPUT, "")
    assert "--directory . uses the transfer.info here" in capsys.readouterr().err


def test_several_known_servers(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("one:1", "two:2"):
        run(["trust", "add", host, FINGERPRINT])
    assert served()[:2] == (ExitStatus.BAD_INPUT, "")

    assert "several servers are known (one:1, two:2)" in capsys.readouterr().err


def test_options_reach_the_client() -> None:
    status, _, options = served(
        "--server", SERVER, "--directory", "d", "--fingerprint", FINGERPRINT, "--ca-file", "ca",
        "--timeout", "5", "--retries", "1",
    )  # fmt: skip

    assert status == 0
    assert callable(options.pop("on_unknown_server"))
    assert callable(options.pop("on_delay"))
    assert options == {
        "directory": Path("d"),
        "fingerprint": FINGERPRINT,
        "ca_file": Path("ca"),
        "timeout": 5.0,
        "retries": 1,
        "limit_rate": None,
    }


def test_a_changed_server_is_a_hard_stop(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refusals["whoami"] = server.refusals[""] = ServerChanged("not the one", "old", "new")
    assert server.run("whoami") == ExitStatus.NOT_TRUSTED

    shown = capsys.readouterr().err
    assert "CERTIFICATE HAS CHANGED" in shown
    assert "known:     old\npresented: new\nFatal: not the one\n" in shown


def test_a_missing_authority_is_a_hard_stop_without_an_alarm(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.refusals["whoami"] = server.refusals[""] = ServerChanged("give it again", "CA", "new")
    assert server.run("whoami") == ExitStatus.NOT_TRUSTED

    assert capsys.readouterr().err == "Fatal: give it again\n"


@pytest.mark.parametrize("command", [["ls"], ["ls", "-l"], ["stat", "ünï-日"]])
def test_a_name_that_the_terminal_has_no_letters_for_is_escaped(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    server.add("ünï-日", b"")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "latin-1"))
    assert server.run(*command) == 0
    assert "ünï-\\u65e5".encode("latin-1") in written.getvalue()


@pytest.mark.parametrize("json_lines", [True, False])
def test_output_that_nobody_takes(
    server: FakeServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    json_lines: bool,
) -> None:
    server.add("a", b"")
    monkeypatch.setattr(sys, "stdout", Gone())
    status = server.run("ls", *(["--json"] if json_lines else []))

    assert status == ExitStatus.NOT_WRITTEN
    assert ("standard output takes no more" in capsys.readouterr().err) is json_lines


def test_a_summary_that_nobody_takes(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())

    assert server.run("ls", "--json") == ExitStatus.NOT_WRITTEN


def test_protocol_3_has_arguments_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["--protocol", "3", "--help"])
    assert caught.value.code == 0
    assert "--generation" in capsys.readouterr().out

    with pytest.raises(SystemExit) as caught:
        run(["put", "x", "--protocol=3", "--server", "127.0.0.1:1", "--name", "a"])
    assert caught.value.code == ExitStatus.BAD_INPUT
    assert "'put' is a command of protocol 4" in capsys.readouterr().err


def test_every_command_is_known_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["no such command"])

    assert set(re.findall(r"'(\w+)'", capsys.readouterr().err)) == COMMANDS


@pytest.mark.parametrize("argv", ["[]", "['--protocol', '3', '--version']", "['put', '--help']"])
def test_nothing_waits_for_what_it_does_not_need(argv: str) -> None:
    code = f"""
import sys
from client.commands.running import main
try:
    main({argv})
except SystemExit:
    pass
slow = ("Crypto", "tqdm", "ssl", "platformdirs", "argcomplete", "client.api")
print([name for name in slow if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_completion_completes_commands(tmp_path: Path) -> None:
    out = tmp_path / "completions"
    subprocess.run(
        [sys.executable, "-m", "client"],
        cwd=Path(__file__).parents[3],
        env={
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(out),
            "COMP_LINE": "eft-client pu",
            "COMP_POINT": "13",
        },
        capture_output=True,
        check=False,
    )

    assert out.read_text().strip() == "put"


# The run without a command.


@pytest.fixture
def info(work: Path) -> Path:
    (work / "a.txt").write_bytes(b"a")
    (work / "b.bin").write_bytes(bytes(100_000))
    (work / "transfer.info").write_text(f"{SERVER}\nalice\na.txt\nb.bin\n")
    return work


@pytest.mark.usefixtures("info")
def test_the_batch_run(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([], server.connect) == 0

    assert sorted(server.contents) == ["a.txt", "b.bin"]
    assert server.servers == [SERVER]
    assert server.options[0]["directory"] == Path()
    assert "register alice" not in server.calls
    assert capsys.readouterr() == ("", "")


def test_the_batch_run_refuses_two_files_of_one_name(
    info: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (info / "d").mkdir()
    (info / "d" / "a.txt").write_text("another")
    with (info / "transfer.info").open("a") as file:
        file.write("d/a.txt\n")
    assert run([], server.connect) == ExitStatus.BAD_INPUT

    assert "names are without directories here" in capsys.readouterr().err
    assert server.contents == {}


@pytest.mark.usefixtures("info")
def test_the_batch_run_registers_where_it_must(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "me", None)
    monkeypatch.setenv("EFT_TOKEN", "token")
    assert run(["--name", "bob"], server.connect) == 0

    assert (server.me, server.token, len(server.contents)) == ("bob", "token", 2)


def test_the_batch_run_tells_of_an_identity_of_protocol_3(
    info: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (info / "me.info").write_text("alice\n")
    server.me = None
    assert run([], server.connect) == 0

    assert "me.info holds an identity of protocol 3" in capsys.readouterr().err


def test_an_interrupt_before_a_command_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_argv: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "run", interrupted)

    assert running.main([]) == ExitStatus.INTERRUPTED


@pytest.mark.usefixtures("info")
def test_the_batch_run_under_another_name_than_the_registered(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.me = "bob"
    assert run([], server.connect) == ExitStatus.BAD_INPUT

    assert "says 'alice', but this client is registered as 'bob'" in capsys.readouterr().err
    assert server.contents == {}


def test_the_batch_run_goes_on_after_a_file_that_is_missing(
    info: Path, server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (info / "a.txt").unlink()
    (info / "b.bin").unlink()
    (info / "b.bin").mkdir()
    with (info / "transfer.info").open("a") as file:
        file.write("..\nc\n")
    (info / "c").write_bytes(b"c")
    assert run(["--json"], server.connect) == ExitStatus.FILE_FAILED

    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["file"], row["outcome"]) for row in rows[:-1]] == [
        ("a.txt", "failed"),
        ("b.bin", "failed"),
        ("..", "failed"),
        ("c", "verified"),
    ]


def test_a_batch_run_without_transfer_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitStatus.BAD_INPUT

    assert capsys.readouterr().err == (
        "Fatal: transfer.info, line 1: no such file in '.'; write one, or name the files to the"
        " command `put`\n"
    )


@pytest.mark.usefixtures("info")
@pytest.mark.parametrize(
    ("argv", "origin"),
    [
        ([], "transfer.info, line 2: says 'alice'"),
        (["--name", "carol"], "--name: says 'carol'"),
    ],
)
def test_the_batch_run_names_where_the_wrong_name_stands(
    server: FakeServer, capsys: pytest.CaptureFixture[str], argv: list[str], origin: str
) -> None:
    server.me = "bob"
    assert run(argv, server.connect) == ExitStatus.BAD_INPUT

    assert capsys.readouterr().err.startswith(f"Fatal: {origin}, but")
