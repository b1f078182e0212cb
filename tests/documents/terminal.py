"""A shell on a pseudo-terminal, and somebody who types into it."""

import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pexpect

_PROMPT = r"\[status (\d+)\]\$ "
_INTERRUPT = "\x03"
# A sequence that steers a terminal: ESC [ ... letter, as of ECMA-48.
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Answer = Callable[[re.Match[str]], str | None]
"""Called with what matched a question; what is typed in reply, None where nothing is asked and the
command goes on for as long as the terminal."""

GOES_ON = -1
"""The status of such a command."""


class NoReply(Exception):
    """A command neither ended nor asked anything that was foreseen."""


class Terminal:
    """bash in a session of its own, in a directory and an environment that are given.

    A context manager, at whose end no process of the session is left.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        variables = {
            # No colours, no bracketed paste: what a program writes is what arrives here.
            "TERM": "dumb",
            "PS1": "[status $?]$ ",
            "PS2": "",
            "VIRTUAL_ENV_DISABLE_PROMPT": "1",
        }
        self._shell = pexpect.spawn(
            "/bin/bash",
            ["--noprofile", "--norc", "-i"],
            cwd=directory,
            env={**environment, **variables},
            encoding="utf-8",
            codec_errors="backslashreplace",
            dimensions=(24, 100),
            echo=False,
            timeout=30,
        )
        self._shell.delaybeforesend = None
        self._shell.expect(_PROMPT)

    def run(self, command: str, answers: Mapping[str, Answer], seconds: float) -> tuple[int, str]:
        """Types a command and what it asks for; its exit status and all that it showed.

        `answers` has a pattern for every question; it is `GOES_ON` when one of them says so. Raises
        `NoReply` after so many seconds with neither an end nor a question.
        """
        self._shell.sendline(command)
        questions = list(answers)
        shown = ""
        while True:
            try:
                found = self._shell.expect([_PROMPT, *questions], timeout=seconds)
            except (pexpect.TIMEOUT, pexpect.EOF) as error:
                raise NoReply(_readable(shown + str(self._shell.before))) from error
            shown += str(self._shell.before) + str(self._shell.after) * (found > 0)
            if not found:
                return int(self._match[1]), _readable(shown)
            reply = answers[questions[found - 1]](self._match)
            if reply is None:
                return GOES_ON, _readable(shown)
            self._shell.sendline(reply)

    def interrupt(self, seconds: float) -> tuple[int, str]:
        """Presses Ctrl-C; exit status and last words of what was running."""
        self._shell.send(_INTERRUPT)
        try:
            self._shell.expect(_PROMPT, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF) as error:
            raise NoReply(_readable(str(self._shell.before))) from error
        return int(self._match[1]), _readable(str(self._shell.before))

    @property
    def _match(self) -> re.Match[str]:
        match = self._shell.match
        assert isinstance(match, re.Match)
        return match

    def processes(self) -> list[int]:
        """Ids of all processes of this terminal's session, the shell's among them."""
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdecimal() and _session_of(entry) == self._shell.pid
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:  # it ended by itself just now
                continue
        self._shell.close(force=True)


def _session_of(process: Path) -> int | None:
    try:
        # The name of the program is in parentheses and may hold any character.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[3])


def _readable(text: str) -> str:
    lines = _STEERING.sub("", text).replace("\r\n", "\n").split("\n")
    # A bar is drawn over itself: only its last state is there to be read.
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines).strip()
