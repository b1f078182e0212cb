"""A server and clients as processes, whose every word and every key is kept."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.secrets.recording import VARIABLE
from tests.server.commands import environment

_SECONDS = 90.0
_COMMAND = (sys.executable, "-m", "tests.secrets.recording")


class Programs:
    """Runs programs below one directory; `said` is what each has written to its output."""

    def __init__(self, directory: Path, log_format: str) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.said: dict[str, bytes] = {}
        self.address = ""
        self.fingerprint = ""
        self._log_format = log_format
        self._secrets = directory / "secrets"
        self._variables = environment(
            **{VARIABLE: str(self._secrets)}, EFT_DATABASE_PASSWORD=self.database_password
        )

    database_password = "canary-of-the-database-password"

    def secrets(self) -> set[bytes]:
        """Every key that was used, and every proof."""
        return {bytes.fromhex(line) for line in self._secrets.read_text().split()}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """A server with the most talkative log, which is told to end and must end well."""
        log = self.directory / "server.log"
        with log.open("wb") as stream, subprocess.Popen(
            [*_COMMAND, "server", "--port", "0", "--data", str(self.data), "--min-free-bytes", "0",
             "--log-level", "debug", "--log-format", self._log_format],
            env=self._variables, stdout=subprocess.PIPE, stderr=stream, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                announced = [process.stdout.readline() for _ in range(2)]
                self.fingerprint = announced[0].split()[1]
                self.address = f"127.0.0.1:{announced[1].split()[4].rstrip(',')}"
                yield
                process.send_signal(signal.SIGTERM)
                rest, _ = process.communicate(timeout=_SECONDS)
            finally:
                process.kill()
        assert process.returncode == 0, log.read_text()
        self.said["the server's output"] = "".join((*announced, rest)).encode()
        self.said["the server's log"] = log.read_bytes()
        log.unlink()

    def server_command(self, *arguments: str) -> str:
        """One of the operator's commands; its output, which is not kept."""
        return subprocess.run(
            [*_COMMAND, "server", "--data", str(self.data), *arguments], env=self._variables,
            check=True, capture_output=True, text=True, timeout=_SECONDS,
        ).stdout  # fmt: skip

    def client(self, state: str, *arguments: str, status: int = 0) -> None:
        """One command over protocol 4, which tells all it can."""
        self._run(
            "--server", self.address, "--fingerprint", self.fingerprint, "--directory",
            str(self.directory / state), "--verbose", *arguments, status=status,
        )  # fmt: skip

    def client3(self, state: str, *arguments: str, status: int = 0) -> None:
        """One run over protocol 3, which tells all it can."""
        self._run(
            "--protocol", "3", "--server", self.address, "--directory",
            str(self.directory / state), "--verbose", *arguments, status=status,
        )  # fmt: skip

    def _run(self, *arguments: str, status: int) -> None:
        extra = ("--json",) if self._log_format == "json" else ()
        result = subprocess.run(
            [*_COMMAND, "client", *arguments, *extra], env=self._variables, check=False,
            stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True,
            timeout=_SECONDS,
        )  # fmt: skip
        told = result.stdout + result.stderr
        assert result.returncode == status, told
        self.said[f"{len(self.said)}: {' '.join(arguments)}"] = told


def private(path: Path) -> bool:
    """Whether a file is its owner's alone."""
    return not os.stat(path).st_mode & 0o077  # noqa: PTH116 - as it is
