"""The log: a line for each request that no client can forge, for people or for machines."""

import ast
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import logs

REQUEST: dict[str, object] = {
    "address": "192.0.2.1",
    "client": "00" * 16,
    "request": "SendFile",
    "generation": "2023a",
    "outcome": "Refused",
    "bytes": 1008,
    "seconds": 0.25,
    "cause": "a file of no ciphertext at all",
}
# A plain line's field: a name, and a text that is either quoted or without any of this syntax.
_FIELD = r"""(\w+)=('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^ ='"]+)"""
HOSTILE = [
    "a\nb", "a\rb", "a\x1b[31mb", "a\x00b", "a\x7fb", "a b", "a\tb", "a\u2028b", "a\u202eb",
    "a\x85b", "a\u00a0b", "a outcome=ok", "a\n2026-01-01 00:00:00,000 INFO request outcome=ok",
    "\udcff", "",
]  # fmt: skip


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The server's logger, as it was afterwards."""
    logger = logging.getLogger("server")
    before = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:], logger.level, logger.propagate = before


class _Log:
    """What the server logs from now on."""

    def __init__(self, log_format: str, level: str = "info") -> None:
        logs.set_up(log_format, level)
        self._stream = io.StringIO()
        (handler,) = logging.getLogger("server").handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(self._stream)

    def say(self, message: str, /, **extra: object) -> list[str]:
        """The lines so far, with one of this message and these fields, as a reader splits them."""
        return self.say_at(logging.WARNING, message, extra)

    def say_at(self, level: int, message: str, extra: Mapping[str, object]) -> list[str]:
        logging.getLogger("server.requests").log(level, message, extra=extra)
        return self._stream.getvalue().splitlines()


def _object(log: _Log, /, **extra: object) -> dict[str, Any]:
    (line,) = log.say("request", **extra)
    parsed = json.loads(line)
    assert isinstance(parsed, dict)
    return parsed


# Plain


def test_a_plain_line_tells_time_severity_and_every_field() -> None:
    (line,) = _Log("plain").say("request", **REQUEST)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING request address=192\.0\.2\.1"
        r" client=0{32} request=SendFile generation=2023a outcome=Refused bytes=1008"
        r" seconds=0\.25 cause='a file of no ciphertext at all'",
        line,
    )


def test_a_plain_line_without_fields_is_the_message_alone() -> None:
    (line,) = _Log("plain").say("recovered")
    assert line.endswith(" WARNING recovered")


def test_a_plain_line_leaves_out_what_is_no_field() -> None:
    (line,) = _Log("plain").say("request", secret="hunter2")
    assert "hunter2" not in line


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_within_its_plain_line_and_field(text: str) -> None:
    (line,) = _Log("plain").say("request", cause=text)
    assert line.endswith(f" WARNING request cause={text!r}")


@given(text=st.text() | st.text("a ='\"\\\n", max_size=8))
def test_whatever_a_field_holds_a_reader_of_plain_lines_gets_it_back(text: str) -> None:
    (line,) = _Log("plain").say("request", cause=text, outcome="Refused")
    fields = line.partition(" request ")[2]
    assert re.fullmatch(f"{_FIELD} {_FIELD}", fields)
    (cause, written), outcome = re.findall(_FIELD, fields)
    assert (cause, outcome) == ("cause", ("outcome", "Refused"))
    assert (ast.literal_eval(written) if written[0] in "'\"" else written) == text


def test_a_plain_text_is_not_quoted() -> None:
    (line,) = _Log("plain").say("request", client="Ünïcode")
    assert line.endswith("client=Ünïcode")


def test_an_unexpected_error_brings_its_traceback() -> None:
    log = _Log("plain")
    try:
        raise KeyError("unexpected")
    except KeyError:
        logging.getLogger("server").exception("connection failed")
    assert "KeyError: 'unexpected'" in log.say("next")[-2]


# JSON


def test_a_json_line_holds_every_field_with_its_type() -> None:
    parsed = _object(_Log("json"), **REQUEST)
    assert {name: parsed[name] for name in REQUEST} == REQUEST


def test_a_json_line_tells_time_severity_logger_and_message() -> None:
    parsed = _object(_Log("json"))
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", parsed.pop("time"))
    parsed.pop("taskName", None)  # Python 3.12 and newer
    assert parsed == {"level": "WARNING", "logger": "server.requests", "message": "request"}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_within_its_json_line(text: str) -> None:
    assert _object(_Log("json"), cause=text)["cause"] == text


@given(text=st.text())
def test_any_text_is_one_json_line_that_gives_it_back(text: str) -> None:
    assert _object(_Log("json"), cause=text)["cause"] == text


def test_an_unexpected_error_is_part_of_its_json_line() -> None:
    log = _Log("json")
    try:
        raise KeyError("unexpected")
    except KeyError:
        logging.getLogger("server").exception("connection failed")
    first = json.loads(log.say("next")[0])
    assert "KeyError: 'unexpected'" in first["exc_info"]


# Severity and destination


@pytest.mark.parametrize(
    ("level", "logged"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_what_is_less_severe_than_asked_for_is_left_out(level: str, logged: int) -> None:
    log = _Log("plain", level)
    for severity in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        lines = log.say_at(severity, "something", {})
    assert len(lines) == logged


def test_the_log_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("plain", "info")
    logging.getLogger("server").warning("something")
    captured = capsys.readouterr()
    assert (captured.out, captured.err.endswith("WARNING something\n")) == ("", True)


def test_the_log_goes_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    _Log("plain").say("something")
    assert not caplog.records


def test_setting_up_twice_does_not_log_twice() -> None:
    logs.set_up("plain", "info")
    assert len(_Log("plain").say("once")) == 1
