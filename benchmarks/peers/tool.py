"""What measured programs have in common: a server that is started, commands for a client."""

import os
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import Command
from benchmarks.results import Series

HOST = "127.0.0.1"
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the server listens, and where clients connect: elsewhere if a relay is between."""

    server: int
    client: int


class Service(ABC):
    """A server that runs, and the commands that use it; `pids` are its processes."""

    pids: tuple[int, ...]

    @abstractmethod
    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:
        """Stores one file under a name without directories, as the client of that number."""

    def put_directory(self, source: Path) -> Command:
        """Stores all that is in a directory."""
        raise NotImplementedError(f"{type(self).__name__} is not measured with directories")

    def get_file(self, name: str, copy: Path) -> Command:
        """Fetches a file that was placed."""
        raise NotImplementedError(f"{type(self).__name__} is not measured with downloads")

    def resume_file(self, source: Path, name: str) -> Command:
        """Goes on with `put_file` after an interruption."""
        raise NotImplementedError(f"{type(self).__name__} does not resume")

    @abstractmethod
    def place(self, source: Path, name: str) -> None:
        """Makes a file available for `get_file`."""

    @abstractmethod
    def stored(self) -> dict[str, Path]:
        """Where the bytes of each stored file lie, by its name."""


class Tool(ABC):
    """A program, or a way to use one; `lacks` says what it does not do, compared with ours.

    `syncs`: when the client has ended, the bytes are on the server's disk.
    """

    name: str
    lacks: str
    syncs: bool = False

    @property
    def series(self) -> Series:
        """What its runs are called."""
        return Series(self.name, self.lacks, self.syncs)

    def ports(self, *, relayed: bool = False) -> Ports:
        """Ports for the next `serving`: two of them where a relay is to stand between."""
        port = free_port()
        return Ports(free_port() if relayed else port, port)

    @abstractmethod
    def serving(
        self, directory: Path, ports: Ports, *, clients: int = 1
    ) -> AbstractContextManager[Service]:
        """A fresh server whose files all lie in `directory`, for that many clients."""


class DirectoryService(Service):
    """A server that keeps files under their own names in a directory."""

    def __init__(self, root: Path, pids: Sequence[int]) -> None:
        self.root = root
        self.pids = tuple(pids)
        root.mkdir(parents=True, exist_ok=True)

    def place(self, source: Path, name: str) -> None:
        shutil.copyfile(source, self.root / name)

    def stored(self) -> dict[str, Path]:
        return {
            str(path.relative_to(self.root)): path
            for path in self.root.rglob("*")
            if path.is_file()
        }


@contextmanager
def server_process(
    arguments: Sequence[str],
    directory: Path,
    port: int,
    environment: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """A server that runs and accepts connections; its process id. Its output goes to `directory`.

    Raises `BenchmarkError` when it does not start.
    """
    log = directory / f"{Path(arguments[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for_port(process, port, log)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    text = log.read_text(errors="replace").strip()[-500:]
    raise BenchmarkError(f"{process.args!r} does not serve port {port}: {text or 'no message'}")


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
