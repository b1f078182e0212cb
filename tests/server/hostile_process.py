"""A real server process, for tests that signal it, kill it or take its resources away."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 30.0


class ServerProcess:
    """`python -m server` on a free port; leaving the context kills what still runs."""

    def __init__(self, data: Path, *arguments: str, through: Sequence[str] = ()) -> None:
        """`through` is a command that runs the command line that follows it."""
        self._log = data.with_name(f"{data.name}.log")
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*through, sys.executable, "-m", "server", "--port", "0", "--data", str(data),
                 "--min-free-bytes", "0", *arguments],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        lines = self.process.stdout.readline() + self.process.stdout.readline()
        match = re.fullmatch(r"certificate (SHA256:\S+)\nlistening on \S+ port (\d+),.*\n", lines)
        if match is None:
            self.kill()
            raise RuntimeError(f"the server does not start: {lines!r}\n{self.log[-2000:]}")
        self.fingerprint = match[1]
        self.port = int(match[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def log(self) -> str:
        """What this server, and others on this data directory before it, wrote to its log."""
        return self._log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def status(self) -> int:
        """The exit status, once the process has ended by itself."""
        return self.process.wait(END_SECONDS)

    def kill(self) -> None:
        """Ends the process as a crash would; nothing if it has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
