"""`python -m client` in both protocols, with files of its own, killed and run again."""

import json
import os
import random
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from tests.faults.processes import finish
from tests.faults.senders import Stored
from tests.server.hostile_process import ROOT

_LARGE_BYTES = 3 * 2**20 + 12_345
_SMALL_FILES = 8
_SMALL_BYTES = 20_000


class Program(ABC):
    """One client's command, which sends all its files."""

    protocol: str

    def __init__(self, directory: Path, address: str, fingerprint: str) -> None:
        self.name = f"program {random.getrandbits(64):x}"
        self.address = address
        self.fingerprint = fingerprint
        self.state = directory / "state"
        self.source = directory / "source"
        self.files: dict[str, bytes] = {}
        self._earlier: dict[str, bytes] = {}
        self.source.mkdir(parents=True)
        self.change_files()

    def change_files(self) -> None:
        """Gives every file new content."""
        self._earlier = self.files
        sizes = {f"small{number}": _SMALL_BYTES for number in range(_SMALL_FILES)}
        self.files = {
            name: random.randbytes(size) for name, size in (sizes | {"large": _LARGE_BYTES}).items()
        }
        for name, content in self.files.items():
            (self.source / name).write_bytes(content)

    @abstractmethod
    def register(self) -> None:
        """Makes the client known to the server."""

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """Of the command that sends everything."""

    def start(self) -> "subprocess.Popen[str]":
        """Starts sending everything."""
        return self._start(*self._arguments())

    def send_everything(self) -> None:
        """Sends everything; it must succeed."""
        finish(self.start())

    def _start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "client", "--json", *arguments],
            cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "error"}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def promised(self, output: str) -> set[str]:
        """The files that a command, which may have been killed, told to be stored."""
        names = set()
        for line in output.splitlines():
            if line.startswith("{") and line.endswith("}"):
                row = json.loads(line)
                if row.get("outcome") == "verified":
                    names.add(Path(row["file"]).name)
        return names

    def losses(self, stored: Stored, promised: set[str]) -> list[str]:
        """Files that were promised and are not there as they are now; and others that are neither
        as they are now nor as they were before."""
        lost = []
        for name, content in self.files.items():
            there = stored.get((self.name, name))
            allowed = [content] if name in promised else [content, self._earlier.get(name)]
            if there not in allowed:
                lost.append(f"{self.name}/{name}")
        return lost


class Program3(Program):
    """The batch run over protocol 3."""

    protocol = "3"

    def register(self) -> None:
        self.state.mkdir()
        self.send_everything()

    def _arguments(self) -> Sequence[str]:
        return (
            "--protocol", "3", "--server", self.address, "--name", self.name,
            "--directory", str(self.state), *(str(self.source / name) for name in self.files),
        )  # fmt: skip


class Program4(Program):
    """`put` of a directory over protocol 4."""

    protocol = "4"

    def register(self) -> None:
        finish(self._start(*self._options(), "register", self.name))

    def _arguments(self) -> Sequence[str]:
        return (*self._options(), "put", f"{self.source}/")

    def _options(self) -> Sequence[str]:
        return (
            "--server", self.address, "--directory", str(self.state),
            "--fingerprint", self.fingerprint,
        )  # fmt: skip


PROGRAMS: dict[str, type[Program]] = {"3": Program3, "4": Program4}
