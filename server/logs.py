"""The log on standard error: plain lines for people, JSON lines for machines."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

_PLAIN = "%(asctime)s %(levelname)s %(message)s"
_FIELDS = frozenset(
    (
        *("action", "address", "client", "request", "generation", "outcome", "files", "bytes"),
        *("seconds", "cause", "operator", "subjects", "target"),
    )
)
_SYNTAX = frozenset(" ='\"")


class _PlainFormatter(logging.Formatter):
    """Adds a record's fields as `name=value`, so that a request is still one line."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        fields = [
            f"{name}={_quoted(value)}" for name, value in vars(record).items() if name in _FIELDS
        ]
        return " ".join([line, *fields])


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and text and not _SYNTAX.intersection(text) else repr(text)


def set_up(log_format: str, level: str) -> None:
    """Sends the server's log to standard error, as `plain` or `json`, from `level` upwards."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(level.upper())  # what is counted need not be shown
    if log_format == "json":
        formatter: logging.Formatter = JsonFormatter(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
        )
    else:
        formatter = _PlainFormatter(_PLAIN)
    handler.setFormatter(formatter)
    logger = logging.getLogger("server")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
