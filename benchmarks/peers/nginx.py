"""curl to nginx over TLS: WebDAV PUT (RFC 4918) and GET, with a password."""

import os
import secrets
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measuring import Command
from benchmarks.peers.certificate import make_certificate
from benchmarks.peers.tool import HOST, DirectoryService, Ports, Service, Tool, server_process
from benchmarks.programs import find

_USER = "bench"


class NginxService(DirectoryService):
    """An nginx; with `synced` the file system is synced after each command of the client."""

    def __init__(self, directory: Path, pid: int, port: int, *, synced: bool) -> None:
        super().__init__(directory / "root", [pid])
        self._directory = directory
        self._url = f"https://{HOST}:{port}"
        self._synced = synced

    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:  # noqa: ARG002
        return self._curl("--upload-file", str(source), f"{self._url}/{name}")

    def put_directory(self, source: Path) -> Command:
        config = self._directory / "uploads"
        with config.open("w") as stream:
            for path in sorted(source.rglob("*")):
                if path.is_file():
                    url = f"{self._url}/{path.relative_to(source)}"
                    stream.write(f'upload-file = "{path}"\nurl = "{url}"\n')
        return self._curl("--parallel", "--config", str(config))

    def get_file(self, name: str, copy: Path) -> Command:
        return self._curl("--output", str(copy), f"{self._url}/{name}")

    def _curl(self, *arguments: str) -> Command:
        # --disable has to be the first: it leaves the user's own settings out.
        curl = (
            find("curl"), "--disable", "--silent", "--show-error", "--fail",
            "--cacert", str(self._directory / "certificate.pem"),
            "--netrc-file", str(self._directory / "netrc"),
            *arguments,
        )  # fmt: skip
        if not self._synced:
            return Command(curl)
        sync = shlex.join((find("sync"), "-f", str(self.root)))
        return Command((find("bash"), "-c", f"{shlex.join(curl)} && {sync}"))


class Curl(Tool):
    """curl to nginx; `parallel` only names it so: directories always go in parallel."""

    def __init__(self, *, parallel: bool = False, synced: bool = False) -> None:
        self.name = f"curl{' -Z' if parallel else ''} to nginx"
        self.lacks = "no sync, no digest, no receipt"
        if synced:
            self.name += ", then sync"
            self.lacks = "no digest, no receipt; one sync of the file system at the end"
        self.syncs = self._synced = synced

    @contextmanager
    def serving(self, directory: Path, ports: Ports, *, clients: int = 1) -> Iterator[Service]:  # noqa: ARG002 - one account serves all
        make_certificate(directory / "certificate.pem", directory / "certificate.key")
        password = secrets.token_urlsafe()
        (directory / "users").write_text(f"{_USER}:{{PLAIN}}{password}\n")
        (directory / "netrc").write_text(f"machine {HOST} login {_USER} password {password}\n")
        (directory / "netrc").chmod(0o600)
        config = directory / "nginx.conf"
        config.write_text(_config(directory, ports.server))
        arguments = (find("nginx"), "-c", str(config), "-e", str(directory / "error.log"))
        (directory / "root").mkdir()
        with server_process(arguments, directory, ports.server) as pid:
            yield NginxService(directory, pid, ports.client, synced=self._synced)


def _config(directory: Path, port: int) -> str:
    user = "user root root;" if os.geteuid() == 0 else ""
    temporary = "\n".join(
        f"  {kind}_temp_path {directory}/temporary-{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""\
{user}
daemon off;
pid {directory}/nginx.pid;
worker_processes auto;
events {{ worker_connections 1024; }}
http {{
{temporary}
  access_log {directory}/access.log;
  sendfile on;
  tcp_nopush on;
  client_max_body_size 0;
  keepalive_requests 1000000;
  server {{
    listen {HOST}:{port} ssl;
    ssl_certificate {directory}/certificate.pem;
    ssl_certificate_key {directory}/certificate.key;
    ssl_protocols TLSv1.3;
    auth_basic bench;
    auth_basic_user_file {directory}/users;
    root {directory}/root;
    dav_methods PUT;
    create_full_put_path on;
  }}
}}
"""
