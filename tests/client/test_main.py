"""The command line, within this process."""

import json
import sys
from pathlib import Path

import pytest

import protocol
from client.commands.running import main
from client.errors import ExitStatus
from tests.client.test_report import Gone
from tests.peer.server import PeerServer


def test_help_lists_the_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for status in ExitStatus:
        assert f"  {status.value:<8}{status.meaning}\n" in shown


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])

    assert capsys.readouterr().out == f"eft-client {protocol.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--protocol", "5"],
        ["--generation", "2024b"],
        ["--timeout", "0"],
        ["--timeout", "nan"],
        ["--timeout", "soon"],
        ["--timeout", "1e300"],
        ["--retries", "-1"],
        ["--retries", "many"],
        ["--unknown"],
    ],
)
def test_wrong_usage_has_the_status_of_bad_input(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == ExitStatus.BAD_INPUT


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("--timeout", "abc", "'abc' is not a number of seconds above 0 and up to 31536000"),
        ("--timeout", "1e300", "'1e300' is not a number of seconds above 0 and up to 31536000"),
        ("--retries", "x", "'x' is not a whole number from 0 on"),
        ("--retries", "-1", "'-1' is not a whole number from 0 on"),
    ],
)
def test_a_number_that_is_none_is_named_with_what_is_expected(
    capsys: pytest.CaptureFixture[str], option: str, text: str, message: str
) -> None:
    with pytest.raises(SystemExit):
        main([option, text])

    assert capsys.readouterr().err.endswith(f"error: argument {option}: {message}\n")


def arguments_for(server: PeerServer, directory: Path, *more: str) -> list[str]:
    return [
        "--directory",
        str(directory),
        "--server",
        f"{server.host}:{server.port}",
        "--name",
        "alice",
        "--generation",
        server.generation.name,
        "--protocol",
        "3",
        "--timeout",
        "10",
        "--retries",
        "0",
        *more,
    ]


@pytest.mark.parametrize("generation", ["2023a", "2024c"])
def test_arguments_reach_the_run_and_json_tells_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], generation: str
) -> None:
    path = tmp_path / "digits"
    path.write_bytes(b"123456789")
    with PeerServer(generation) as server:
        status = main(arguments_for(server, tmp_path, "--json", str(path)))
        server.settle()

        assert server.violations == []
    assert status == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    file, summary = (json.loads(line) for line in captured.out.splitlines())
    assert (file["file"], file["name"], file["size"]) == (str(path), "digits", 9)
    assert (file["cksum"], file["outcome"], file["attempts"]) == (930766865, "verified", 1)
    assert (summary["status"], summary["verified"], summary["bytes"]) == (0, 1, 9)


def test_json_tells_of_a_run_that_did_not_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--directory", str(tmp_path), "--json"]) == ExitStatus.BAD_INPUT

    summary = json.loads(capsys.readouterr().out)
    assert summary["status"] == 2
    assert summary["error"].startswith("transfer.info, line 1: no such file")


def test_verbose_tells_the_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_bytes(b"123456789")
    with PeerServer() as server:
        main(arguments_for(server, tmp_path, "-v", str(tmp_path / "f")))
        address = f"{server.host}:{server.port}"

    assert capsys.readouterr().err.splitlines() == [
        f"connecting to {address}",
        "registering 'alice'",
        f"{str(tmp_path / 'f')!r}: 9 bytes, checksum 930766865, verified",
    ]


def test_output_that_nobody_takes_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f").write_bytes(b"123456789")
    monkeypatch.setattr(sys, "stdout", Gone())
    with PeerServer() as server:
        status = main(arguments_for(server, tmp_path, "--json", str(tmp_path / "f")))

    assert status == ExitStatus.NOT_WRITTEN
    assert "Fatal: standard output takes no more: Broken pipe" in capsys.readouterr().err


def test_a_summary_that_nobody_takes_is_told_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())

    assert main(["--directory", str(tmp_path), "--json"]) == ExitStatus.NOT_WRITTEN
    assert "standard output" in capsys.readouterr().err
