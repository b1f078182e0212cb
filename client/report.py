"""What a run tells: lines on stderr for people, JSON lines on stdout for machines."""

import contextlib
import json
import os
import sys
from enum import StrEnum
from typing import Any, NamedTuple

from client.errors import ClientError, ExitStatus, NotWritten

GENERAL_ERROR_LINE = "server responded with an error"


class Outcome(StrEnum):
    """How a file ended: acknowledged, failed for good, or not reached before the run ended."""

    VERIFIED = "verified"
    FAILED = "failed"
    UNSENT = "unsent"


class FileResult(NamedTuple):
    """One file of a run; as JSON, an object with these fields.

    `size` in bytes and `cksum` are those acknowledged, else None; `attempts` is how many times
    sending began, `seconds` counts from the first of them.
    """

    file: str
    name: str | None
    size: int | None
    cksum: int | None
    outcome: Outcome
    seconds: float
    attempts: int
    error: str | None


class Report:
    """Writes to this process's stdout and stderr.

    `verbose` tells each step, `quiet` leaves only warnings and errors, `json_lines` adds an object
    for each file and a last one for the run, which has the field `summary`.
    """

    def __init__(
        self, *, verbose: bool = False, quiet: bool = False, json_lines: bool = False
    ) -> None:
        self._verbose = verbose
        self._quiet = quiet
        self._json_lines = json_lines
        self._results: list[FileResult] = []

    @property
    def results(self) -> tuple[FileResult, ...]:
        """The files that are done with."""
        return tuple(self._results)

    def step(self, text: str) -> None:
        """A step that only `verbose` shows."""
        if self._verbose:
            tell(text)

    def delay(self, text: str) -> None:
        """Something that explains why the run takes longer; `quiet` hides it."""
        if not self._quiet:
            tell(text)

    def warn(self, text: str) -> None:
        """Something the user ought to know."""
        tell(f"warning: {text}")

    def general_error(self) -> None:
        """The line that the protocol's description asks for."""
        tell(GENERAL_ERROR_LINE)

    def fatal(self, error: ClientError) -> None:
        """What ended the run, or one file of it."""
        tell(f"Fatal: {error}")

    def file_done(self, result: FileResult) -> None:
        """A file is done with; raises `NotWritten` when stdout does not take it."""
        self._results.append(result)
        if result.outcome is Outcome.VERIFIED:
            self.step(f"{result.file!r}: {result.size} bytes, checksum {result.cksum}, verified")
        self._write(result._asdict())

    def finish(self, status: ExitStatus, error: str | None, seconds: float) -> None:
        """The run is over; raises `NotWritten` when stdout does not take it."""
        counts = {
            str(outcome): sum(result.outcome is outcome for result in self._results)
            for outcome in Outcome
        }
        verified = [result for result in self._results if result.outcome is Outcome.VERIFIED]
        self._write(
            {
                "summary": True,
                "status": int(status),
                "files": len(self._results),
                **counts,
                "bytes": sum(result.size or 0 for result in verified),
                "seconds": round(seconds, 3),
                "error": error,
            }
        )

    def _write(self, line: dict[str, Any]) -> None:
        if not self._json_lines:
            return
        try:
            write_out(json.dumps(line) + "\n")
        except NotWritten:
            # Once is enough: the summary is not to try again.
            self._json_lines = False
            raise


def write_out(text: str) -> None:
    """Writes to this process's stdout at once; raises `NotWritten` when it takes no more."""
    if sys.stdout is None:  # closed by whoever started this process, as with `>&-`
        raise NotWritten("standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Nor is the interpreter to try again, and fail, when it exits.
        write_nowhere()
        raise NotWritten(f"standard output takes no more: {error.strerror}") from error


def write_nowhere() -> None:
    """From now on stdout goes to nowhere: it has failed, and is not to be tried again."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(text: str) -> None:
    """Writes a line to this process's stderr, if anybody reads it."""
    # Nobody reads the messages any more: no reason to stop sending files.
    if sys.stderr is None:  # as with `2>&-`
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
