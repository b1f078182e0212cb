"""What a command tells: results on stdout, as text or JSON lines; everything else on stderr."""

import json
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from threading import Lock
from typing import Any, NamedTuple

from client.errors import ClientError, ExitStatus, NotWritten
from client.report import tell, write_out


class Outcome(StrEnum):
    """How a file ended."""

    VERIFIED = "verified"
    """Stored by the server, or stored here; complete and verified by both ends."""
    PLANNED = "planned"
    """A dry run: it would be sent."""
    SKIPPED = "skipped"
    """Left out as asked for: excluded by --overwrite, or nothing that can be sent."""
    REMOVED = "removed"
    RENAMED = "renamed"
    FAILED = "failed"
    UNSENT = "unsent"
    """Not reached before the command ended."""


class Row(NamedTuple):
    """One file; as JSON, an object with these fields.

    `file` is its path here, `name` its name at the server (None where there is none), `size` in
    bytes and `sha256` (in hex) are what was stored, `seconds` how long it took.
    """

    file: str | None
    name: str | None
    outcome: Outcome
    size: int | None = None
    sha256: str | None = None
    seconds: float = 0.0
    error: str | None = None


class Output:
    """Writes to this process's stdout and stderr, from any thread.

    `verbose` tells each file, `quiet` leaves only results, warnings and errors; with `json_lines`
    all results are objects, and the last of them has the field `summary`.
    """

    def __init__(
        self, *, verbose: bool = False, quiet: bool = False, json_lines: bool = False
    ) -> None:
        self.verbose = verbose
        self.quiet = quiet
        self.json_lines = json_lines
        self.aside: Callable[[], AbstractContextManager[object]] = nullcontext
        """Entered while a line is written: takes a progress bar out of the way."""
        self._counts: Counter[Outcome] = Counter()
        self._bytes = 0
        self._takes_no_more = False
        self._lock = Lock()
        self._began = time.monotonic()

    @property
    def counts(self) -> Counter[Outcome]:
        """How many files there were of each outcome."""
        return self._counts

    @property
    def bytes(self) -> int:
        """The sizes of the verified files together."""
        return self._bytes

    @property
    def seconds(self) -> float:
        """Since the command began."""
        return round(time.monotonic() - self._began, 3)

    def result(self, fields: dict[str, Any], text: str) -> None:
        """A result that is no file's: as text for people, or as an object."""
        self._out(json.dumps(fields) if self.json_lines else text)

    def object(self, fields: dict[str, Any]) -> None:
        """A result that people are told of on stderr, or need not be told of."""
        if self.json_lines:
            self._out(json.dumps(fields))

    def file(self, row: Row, text: str | None = None) -> None:
        """A file is done with; `text` is its line on stdout where people read that."""
        with self._lock:
            self._counts[row.outcome] += 1
            if row.outcome is Outcome.VERIFIED:
                self._bytes += row.size or 0
        if self.json_lines:
            self._out(json.dumps(row._asdict()))
        elif text is not None:
            self._out(text)

    def failed(
        self, file: str | None, name: str | None, error: ClientError, seconds: float = 0.0
    ) -> None:
        """A file that failed: its line on stderr, and its object."""
        self.fatal(error)
        self.file(Row(file, name, Outcome.FAILED, seconds=seconds, error=str(error)))

    def summary(self, status: ExitStatus, error: str | None = None) -> None:
        """The last object; nothing without `json_lines`."""
        if self.json_lines:
            fields = {
                "summary": True,
                "status": int(status),
                "files": self._counts.total(),
                **{str(outcome): self._counts[outcome] for outcome in Outcome},
                "bytes": self._bytes,
                "seconds": self.seconds,
                "error": error,
            }
            self._out(json.dumps(fields))

    def step(self, text: str) -> None:
        """Something that only `verbose` shows."""
        if self.verbose:
            self._tell(text)

    def note(self, text: str) -> None:
        """Something that `quiet` hides."""
        if not self.quiet:
            self._tell(text)

    def warn(self, text: str) -> None:
        """Something the user ought to know."""
        self._tell(f"warning: {text}")

    def loud(self, text: str) -> None:
        """Something that nobody is to overlook."""
        self._tell(text)

    def fatal(self, error: ClientError | str) -> None:
        """What ended the command, or one file of it."""
        self._tell(f"Fatal: {error}")

    def _out(self, line: str) -> None:
        with self._lock, self.aside():
            if self._takes_no_more:  # told once, by what the first one raised
                return
            try:
                write_out(f"{line}\n")
            except NotWritten:
                self._takes_no_more = True
                raise

    def _tell(self, line: str) -> None:
        with self._lock, self.aside():
            tell(line)


def printable(text: str) -> str:
    """The text with everything escaped that could steer a terminal or break a line."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def table(fields: dict[str, Any]) -> str:
    """The fields for people, a line for each; what is None is shown as `-`."""
    return "\n".join(
        f"{key + ':':<13}{'-' if value is None else printable(str(value))}"
        for key, value in fields.items()
    )


def amount(size: int) -> str:
    """A size for people: 123 bytes, 1.5 MiB."""
    if size < 1 << 10:
        return f"{size} byte" if size == 1 else f"{size} bytes"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1 << 10
        if value < 1 << 10:
            return f"{value:.1f} {unit}"
    return f"{value / (1 << 10):.1f} TiB"


def files(count: int) -> str:
    """`1 file`, `2 files`."""
    return f"{count} file" if count == 1 else f"{count} files"
