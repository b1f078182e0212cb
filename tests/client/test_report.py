"""What a run tells people and machines."""

import io
import json
import sys

import pytest

from client.errors import BadInput, ConnectionLost, ExitStatus, NotWritten
from client.report import FileResult, Outcome, Report

RESULT = FileResult("dir/a", "a", 9, 930766865, Outcome.VERIFIED, 0.5, 1, None)
FAILURE = FileResult("b", "b", None, None, Outcome.FAILED, 0.0, 0, "gone")


def test_json_is_one_object_for_each_file_and_one_for_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report(json_lines=True)

    report.file_done(RESULT)
    report.file_done(FAILURE)
    report.finish(ExitStatus.FILE_FAILED, None, 1.23456)

    captured = capsys.readouterr()
    assert captured.err == ""
    assert [json.loads(line) for line in captured.out.splitlines()] == [
        {
            "file": "dir/a",
            "name": "a",
            "size": 9,
            "cksum": 930766865,
            "outcome": "verified",
            "seconds": 0.5,
            "attempts": 1,
            "error": None,
        },
        {
            "file": "b",
            "name": "b",
            "size": None,
            "cksum": None,
            "outcome": "failed",
            "seconds": 0.0,
            "attempts": 0,
            "error": "gone",
        },
        {
            "summary": True,
            "status": 1,
            "files": 2,
            "verified": 1,
            "failed": 1,
            "unsent": 0,
            "bytes": 9,
            "seconds": 1.235,
            "error": None,
        },
    ]


def test_without_json_stdout_stays_empty(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(verbose=True)
    report.file_done(RESULT)
    report.finish(ExitStatus.VERIFIED, None, 1)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "'dir/a': 9 bytes, checksum 930766865, verified\n"


@pytest.mark.parametrize(
    ("verbose", "quiet", "expected"),
    [
        (False, False, ["delay", "warning: w", "server responded with an error", "Fatal: f"]),
        (
            True,
            False,
            ["step", "delay", "warning: w", "server responded with an error", "Fatal: f"],
        ),
        (False, True, ["warning: w", "server responded with an error", "Fatal: f"]),
    ],
)
def test_who_hears_what(
    capsys: pytest.CaptureFixture[str], verbose: bool, quiet: bool, expected: list[str]
) -> None:
    report = Report(verbose=verbose, quiet=quiet)

    report.step("step")
    report.delay("delay")
    report.warn("w")
    report.general_error()
    report.fatal(ConnectionLost("f"))

    assert capsys.readouterr().err.splitlines() == expected


def test_bad_input_is_told_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Report().fatal(BadInput("transfer.info, line 1", "no port", "write HOST:PORT"))

    assert capsys.readouterr().err == ("Fatal: transfer.info, line 1: no port; write HOST:PORT\n")


class Gone(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_reader_of_stdout_that_left_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(json_lines=True)
    monkeypatch.setattr(sys, "stdout", Gone())

    with pytest.raises(NotWritten, match="standard output takes no more: Broken pipe"):
        report.file_done(RESULT)
    report.finish(ExitStatus.NOT_WRITTEN, "x", 0)


def test_a_stdout_that_was_closed_from_the_start_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = Report(json_lines=True)
    monkeypatch.setattr(sys, "stdout", None)

    with pytest.raises(NotWritten, match="standard output is closed"):
        report.file_done(RESULT)
    report.finish(ExitStatus.NOT_WRITTEN, "x", 0)


def test_messages_that_nobody_reads_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())

    Report().warn("nobody listens")


def test_every_exit_status_has_a_meaning() -> None:
    assert [int(status) for status in ExitStatus] == [0, 1, 2, 3, 4, 5, 6, 7, 130]
    assert all(status.meaning for status in ExitStatus)
