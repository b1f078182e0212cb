"""`python -m server` as its users run it: another process, in a directory of its own."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parents[2]
SECONDS = 30.0

Finished = subprocess.CompletedProcess[str]


def environment(**variables: str) -> Mapping[str, str]:
    """This process's, without settings of a server, and with `variables`."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("EFT_")}
    return clean | {"PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "error"} | variables


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "server", *arguments]


def run(directory: Path, *arguments: str, **variables: str) -> Finished:
    """Runs a command that ends by itself."""
    return subprocess.run(
        command(*arguments), cwd=directory, env=environment(**variables), timeout=SECONDS,
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@dataclass
class Server:
    """A server process; `said` and `logged` are its lines on standard output and error."""

    process: "subprocess.Popen[str]"
    port: int = 0
    said: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def end(self, number: int) -> int:
        """Sends a signal and waits; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextmanager
def serving(directory: Path, *arguments: str, **variables: str) -> Iterator[Server]:
    """A server that has begun to listen; it is ended with the context at the latest."""
    with subprocess.Popen(
        command(*arguments), cwd=directory, env=environment(**variables), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        server = Server(process)
        announced: queue.Queue[str] = queue.Queue()

        def read_output() -> None:
            for line in process.stdout or ():
                server.said.append(line)
                announced.put(line)
            announced.put("")

        def read_log() -> None:
            server.logged.extend(process.stderr or ())

        readers = [threading.Thread(target=read) for read in (read_output, read_log)]
        for reader in readers:
            reader.start()
        try:
            line = announced.get(timeout=SECONDS)
            if line.startswith("certificate "):
                line = announced.get(timeout=SECONDS)
            if line.startswith("listening on "):
                server.port = int(line.partition(" port ")[2].partition(",")[0])
            yield server
        finally:
            process.kill()
            process.wait()
            for reader in readers:
                reader.join(SECONDS)
