"""This project's server and client, over protocol 4 and over protocol 3."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import Command
from benchmarks.peers.tool import HOST, Ports, Service, Tool, free_port, server_process
from benchmarks.results import OURS

# A benchmark stores more than a client may by default, and all its clients have one address.
_LIMITS = (
    "--max-files-per-client=10000000",
    f"--max-bytes-per-client={2**50}",
    "--max-connections-per-address=1000",
)
# The programs as installed: `python -m client` would take what lies in the current directory.
_SERVER = (str(Path(sys.executable).with_name("eft-server")),)
_CLIENT = (str(Path(sys.executable).with_name("eft-client")),)


def _serve(data: Path, port: int, flags: Sequence[str]) -> tuple[str, ...]:
    return (*_SERVER, "--port", str(port), "--data", str(data), *_LIMITS, *flags)


def _stored(data: Path) -> list[tuple[str, Path]]:
    listed = subprocess.run(
        [*_SERVER, "--data", str(data), "files", "list", "--json"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    rows = [json.loads(line) for line in listed.splitlines()]
    return [(row["name"], Path(row["path"])) for row in rows]


class OursService(Service):
    """A server, and clients that are registered with it."""

    def __init__(self, directory: Path, ports: Ports, fingerprint: str, pid: int) -> None:
        self._directory = directory
        self._ports = ports
        self._fingerprint = fingerprint
        self.pids = (pid,)

    def client(self, number: int, *arguments: str) -> Command:
        """A command of the client of that number."""
        return Command(
            (
                *_CLIENT,
                "--server", f"{HOST}:{self._ports.client}",
                "--fingerprint", self._fingerprint,
                "--directory", str(self._directory / f"state-{number}"),
                "--quiet",
                *arguments,
            )
        )  # fmt: skip

    def register(self, number: int) -> None:
        """Makes the client of that number known to the server."""
        command = self.client(number, "register", f"client{number}")
        subprocess.run(command.arguments, check=True)

    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:
        return self.client(client, "put", str(source), "--as", name)

    def put_directory(self, source: Path) -> Command:
        return self.client(0, "put", f"{source}/")

    def get_file(self, name: str, copy: Path) -> Command:
        return self.client(0, "get", name, str(copy))

    def resume_file(self, source: Path, name: str) -> Command:
        return self.put_file(source, name)

    def place(self, source: Path, name: str) -> None:
        subprocess.run(self.put_file(source, name).arguments, check=True)

    def stored(self) -> dict[str, Path]:
        return dict(_stored(self._directory / "data"))


class Ours(Tool):
    """Protocol 4: TLS, sealed segments, SHA-256 by both sides, synced, receipted.

    `flags` are further ones of the server. Registered clients are made once, in `templates`, and
    every run starts from a copy of them.
    """

    def __init__(
        self, templates: Path, name: str = OURS, lacks: str = "", flags: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.lacks = lacks
        self.syncs = not flags
        self._flags = tuple(flags)
        self._template = templates / name.replace(" ", "-")
        # Clients know a server by host and port: it is the same in every run.
        self._port = free_port()
        self._registered = 0

    @contextmanager
    def serving(self, directory: Path, ports: Ports, *, clients: int = 1) -> Iterator[Service]:
        self._prepare(clients)
        shutil.copytree(self._template, directory, dirs_exist_ok=True)
        with self._running(directory, ports) as service:
            yield service

    def ports(self, *, relayed: bool = False) -> Ports:
        return Ports(free_port() if relayed else self._port, self._port)

    @contextmanager
    def _running(self, directory: Path, ports: Ports) -> Iterator[OursService]:
        data = directory / "data"
        with server_process(
            _serve(data, ports.server, self._flags), directory, ports.server
        ) as pid:
            fingerprint = subprocess.run(
                [*_SERVER, "--data", str(data), "fingerprint"],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout.strip()
            yield OursService(directory, ports, fingerprint, pid)

    def _prepare(self, clients: int) -> None:
        if clients <= self._registered:
            return
        self._template.mkdir(parents=True, exist_ok=True)
        flags, self._flags = self._flags, (*self._flags, "--registration=open")
        try:
            with self._running(self._template, Ports(self._port, self._port)) as service:
                for number in range(self._registered, clients):
                    service.register(number)
        finally:
            self._flags = flags
        self._registered = clients


class Ours3Service(Service):
    """A server that answers protocol 3."""

    def __init__(self, directory: Path, ports: Ports, generation: str, pid: int) -> None:
        self._directory = directory
        self._ports = ports
        self._generation = generation
        self.pids = (pid,)

    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:
        """The file keeps its own name: protocol 3's client knows no other."""
        assert source.name == name
        state = self._directory / f"state-{client}"
        state.mkdir()
        (state / "transfer.info").write_text(f"{HOST}:{self._ports.client}\nc{client}\n{source}\n")
        return Command(
            (
                *_CLIENT, "--protocol", "3", "--quiet", "--json",
                "--generation", self._generation, "--directory", str(state),
            )
        )  # fmt: skip

    def place(self, source: Path, name: str) -> None:
        raise NotImplementedError("protocol 3 fetches nothing back")

    def stored(self) -> dict[str, Path]:
        return dict(_stored(self._directory / "data"))


class Ours3(Tool):
    """Protocol 3 in one of its generations: AES-CBC, POSIX checksum, synced."""

    def __init__(self, generation: str) -> None:
        self.name = OURS
        self.lacks = ""
        self.syncs = True
        self._generation = generation

    @contextmanager
    def serving(self, directory: Path, ports: Ports, *, clients: int = 1) -> Iterator[Service]:  # noqa: ARG002 - they register in the run
        answering = self._generation if self._generation.endswith("b") else "2024a"
        flags = (f"--generation-1025={answering}",)
        arguments = _serve(directory / "data", ports.server, flags)
        with server_process(arguments, directory, ports.server) as pid:
            yield Ours3Service(directory, ports, self._generation, pid)
