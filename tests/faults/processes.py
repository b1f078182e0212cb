"""The product's programs as processes of their own: a server on a fixed port, and a client."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.known_servers import KnownServers
from client.receipts import Receipt, read_receipts, verify_receipt
from tests.peer4.serving import ServerProcess4
from tests.server.hostile_process import ROOT

CLIENT_SECONDS = 120
_EXIT_SECONDS = 30.0


def free_port() -> int:
    """A port that a server may be started on again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


class RestartableServer:
    """A server process at which anybody may register, always on one port and data directory."""

    def __init__(
        self,
        data: Path,
        *arguments: str,
        database_url: str | None = None,
        through: Sequence[str] = (),
    ) -> None:
        """Without a URL the database is SQLite's, in the data directory; `through` is a command
        that runs the command that follows it, in its own place."""
        self._through = through
        self.data = data
        self.port = free_port()
        self.database_url = database_url or f"sqlite:///{data / 'database'}"
        self._arguments = ("--port", str(self.port), "--database", self.database_url, *arguments)
        self.start()

    def start(self) -> None:
        """Starts the server, and returns when it listens."""
        self.process = ServerProcess4(self.data, *self._arguments, through=self._through)

    def start_in_vain(self, data: Path | None = None) -> str:
        """Starts one more server on its database and its data directory, or on `data`, which must
        fail with one line; that line."""
        done = subprocess.run(
            [sys.executable, "-m", "server", "--port", "0", "--data", str(data or self.data),
             "--database", self.database_url],
            cwd=ROOT, capture_output=True, text=True, timeout=_EXIT_SECONDS, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        return line

    def kill(self) -> None:
        """Ends it with SIGKILL; nothing if it has ended."""
        self.process.kill()

    def stop(self) -> None:
        """Ends it with SIGTERM."""
        self.process.signal(signal.SIGTERM)
        assert self.process.status() == 0
        self.process.kill()

    @property
    def fingerprint(self) -> str:
        return self.process.fingerprint

    @property
    def pid(self) -> int:
        return self.process.process.pid

    @property
    def log(self) -> str:
        """What it wrote to its log, over all its lives."""
        return self.process.log


@contextmanager
def restartable(
    data: Path,
    *arguments: str,
    database_url: str | None = None,
    through: Sequence[str] = (),
) -> Iterator[RestartableServer]:
    """A running server, which is killed at the end."""
    server = RestartableServer(data, *arguments, database_url=database_url, through=through)
    try:
        yield server
    finally:
        server.kill()


@dataclass(frozen=True)
class ClientProgram:
    """`python -m client` with its state in `directory`; `options` go before every command, and
    `through` is a command that runs the command that follows it."""

    address: str
    directory: Path
    options: tuple[str, ...] = ()
    through: tuple[str, ...] = ()

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts one command."""
        return subprocess.Popen(
            [*self.through, sys.executable, "-m", "client", "--server", self.address,
             "--directory", str(self.directory), "--quiet", *self.options, *arguments],
            cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "error"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def fail(self, *arguments: str) -> str:
        """Runs one command, which must fail, with one clear line; what it wrote."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=CLIENT_SECONDS)
        assert process.returncode not in (0, None)
        assert "Traceback" not in output
        return output

    def run(self, *arguments: str) -> None:
        """Runs one command, which must succeed."""
        finish(self.start(*arguments))

    def receipts(self) -> list[Receipt]:
        """Every receipt that it keeps, each verified with the receipt keys that it knows."""
        known = list(KnownServers(self.directory / "known_servers").receipt_keys())
        paths = (self.directory / "receipts").glob("*.receipts")
        return [
            Receipt(verify_receipt(packed, known), packed, path)
            for path in paths
            for packed in read_receipts(path)
        ]

    def forget_receipts(self) -> None:
        """Removes them, so that the next ones stand alone."""
        for path in (self.directory / "receipts").glob("*.receipts"):
            path.unlink()


def finish(process: "subprocess.Popen[str]") -> None:
    """Waits for a client's command, which must succeed."""
    try:
        output, _ = process.communicate(timeout=CLIENT_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, output


def end(process: "subprocess.Popen[str]") -> None:
    """Kills a process and waits for its end."""
    process.kill()
    process.communicate()


def elapsed(since: float) -> float:
    """Seconds since a moment of the monotonic clock."""
    return time.monotonic() - since
