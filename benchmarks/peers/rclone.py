"""rclone to rclone: WebDAV over TLS, and sftp."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import Command
from benchmarks.peers.certificate import make_certificate
from benchmarks.peers.ssh import make_key
from benchmarks.peers.tool import HOST, DirectoryService, Ports, Service, Tool, server_process
from benchmarks.programs import find

_USER = "bench"
_NO_CONFIG = {"RCLONE_CONFIG": "/dev/null"}
_REMOTE = "RCLONE_CONFIG_BENCH_"


class RcloneService(DirectoryService):
    """An `rclone serve`; `remote` is what clients have to know, as environment variables."""

    def __init__(self, directory: Path, pid: int, remote: dict[str, str]) -> None:
        super().__init__(directory / "root", [pid])
        self._environment = {**_NO_CONFIG, **remote}

    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:  # noqa: ARG002
        return self._rclone("copyto", str(source), f"bench:{name}")

    def put_directory(self, source: Path) -> Command:
        return self._rclone("copy", str(source), "bench:")

    def get_file(self, name: str, copy: Path) -> Command:
        return self._rclone("copyto", f"bench:{name}", str(copy))

    def _rclone(self, *arguments: str) -> Command:
        # A second try would hide a failure.
        return Command((find("rclone"), "--retries", "1", *arguments), self._environment)


class RcloneWebdav(Tool):
    name = "rclone, webdav over TLS"
    lacks = "no sync, no digest (sizes are compared), no receipt"

    @contextmanager
    def serving(self, directory: Path, ports: Ports, *, clients: int = 1) -> Iterator[Service]:  # noqa: ARG002 - one account serves all
        certificate, key = directory / "certificate.pem", directory / "certificate.key"
        make_certificate(certificate, key)
        password = secrets.token_urlsafe()
        arguments = _serve(
            "webdav", directory, ports, "--cert", str(certificate), "--key", str(key)
        )
        environment = {**_NO_CONFIG, "RCLONE_USER": _USER, "RCLONE_PASS": password}
        remote = {
            f"{_REMOTE}TYPE": "webdav",
            f"{_REMOTE}URL": f"https://{HOST}:{ports.client}",
            f"{_REMOTE}VENDOR": "other",
            f"{_REMOTE}USER": _USER,
            f"{_REMOTE}PASS": _obscured(password),
            "RCLONE_CA_CERT": str(certificate),
        }
        with server_process(arguments, directory, ports.server, environment) as pid:
            yield RcloneService(directory, pid, remote)


class RcloneSftp(Tool):
    name = "rclone, sftp"
    lacks = "no sync, no receipt; an MD5 of each file, read once more"

    @contextmanager
    def serving(self, directory: Path, ports: Ports, *, clients: int = 1) -> Iterator[Service]:  # noqa: ARG002 - one account serves all
        for name in ("host_key", "user_key"):
            make_key(directory / name)
        arguments = _serve(
            "sftp", directory, ports,
            "--key", str(directory / "host_key"),
            "--authorized-keys", str(directory / "user_key.pub"),
        )  # fmt: skip
        kind, public, *_ = (directory / "host_key.pub").read_text().split()
        known = directory / "known_hosts"
        known.write_text(f"[{HOST}]:{ports.client} {kind} {public}\n")
        remote = {
            f"{_REMOTE}TYPE": "sftp",
            f"{_REMOTE}HOST": HOST,
            f"{_REMOTE}PORT": str(ports.client),
            f"{_REMOTE}USER": _USER,
            f"{_REMOTE}KEY_FILE": str(directory / "user_key"),
            f"{_REMOTE}KNOWN_HOSTS_FILE": str(known),
        }
        with server_process(arguments, directory, ports.server, _NO_CONFIG) as pid:
            yield RcloneService(directory, pid, remote)


def _serve(kind: str, directory: Path, ports: Ports, *options: str) -> tuple[str, ...]:
    root = directory / "root"
    root.mkdir()
    return (find("rclone"), "serve", kind, str(root), "--addr", f"{HOST}:{ports.server}", *options)


def _obscured(password: str) -> str:
    """As rclone wants passwords in its settings: so that nobody reads them over a shoulder."""
    arguments = [find("rclone"), "obscure", "-"]
    return subprocess.run(
        arguments, input=password, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
