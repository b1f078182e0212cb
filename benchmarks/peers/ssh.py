"""What travels over ssh: scp, sftp, rsync and tar, with an sshd of their own."""

import getpass
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.measuring import Command
from benchmarks.peers.tool import HOST, DirectoryService, Ports, Service, Tool, server_process
from benchmarks.programs import find

GCM = "aes256-gcm@openssh.com"
_RUN_DIRECTORY = Path("/run/sshd")
_SFTP_SERVERS = (
    Path("/usr/lib/openssh/sftp-server"),
    Path("/usr/lib/ssh/sftp-server"),
    Path("/usr/libexec/openssh/sftp-server"),
)
DEFAULT_MAX_STARTUPS = "10:30:100"
_MANY_STARTUPS = "1000"


class SshService(DirectoryService):
    """An sshd; `config` is what clients connect by, `host` the name in it."""

    host = "bench"

    def __init__(self, directory: Path, pid: int, config: Path) -> None:
        super().__init__(directory / "root", [pid])
        self.directory = directory
        self.config = config

    def remote(self, name: str) -> str:
        """A path on the server as scp and rsync write it."""
        return f"{self.host}:{self.root}/{name}"

    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:
        raise NotImplementedError


class SshTool(Tool):
    """Any program that runs over ssh, with the default cipher or the one given."""

    service: type[SshService]

    def __init__(self, *, cipher: str | None = None, max_startups: str = _MANY_STARTUPS) -> None:
        self._cipher = cipher
        self._max_startups = max_startups

    @contextmanager
    def serving(self, directory: Path, ports: Ports, *, clients: int = 1) -> Iterator[Service]:  # noqa: ARG002 - one account serves all
        if os.geteuid() == 0:
            _RUN_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
        for key in ("host_key", "user_key"):
            make_key(directory / key)
        (directory / "authorized_keys").write_bytes((directory / "user_key.pub").read_bytes())
        server = directory / "sshd_config"
        server.write_text(_server_config(directory, ports.server, self._max_startups))
        client = directory / "ssh_config"
        client.write_text(_client_config(directory, ports.client, self._cipher))
        arguments = (find("sshd"), "-D", "-e", "-f", str(server))
        with server_process(arguments, directory, ports.server) as pid:
            yield self.service(directory, pid, client)


class ScpService(SshService):
    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:  # noqa: ARG002
        return self._scp(str(source), self.remote(name))

    def put_directory(self, source: Path) -> Command:
        return self._scp("-r", f"{source}/.", self.remote(""))

    def get_file(self, name: str, copy: Path) -> Command:
        return self._scp(self.remote(name), str(copy))

    def _scp(self, *arguments: str) -> Command:
        return Command((find("scp"), "-q", "-F", str(self.config), *arguments))


class Scp(SshTool):
    service = ScpService
    lacks = "no sync, no digest of the whole, no receipt; a cut leaves half a file in place"

    def __init__(self, *, cipher: str | None = None, max_startups: str = _MANY_STARTUPS) -> None:
        super().__init__(cipher=cipher, max_startups=max_startups)
        self.name = _named("scp", cipher)
        if max_startups == DEFAULT_MAX_STARTUPS:
            self.name += ", sshd's default MaxStartups"


class SftpService(SshService):
    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:
        return self._sftp(f"put {source} {self.root}/{name}", client)

    def get_file(self, name: str, copy: Path) -> Command:
        return self._sftp(f"get {self.root}/{name} {copy}", 0)

    def resume_file(self, source: Path, name: str) -> Command:
        return self._sftp(f"reput {source} {self.root}/{name}", 0)

    def _sftp(self, line: str, client: int) -> Command:
        batch = self.directory / f"batch-{client}"
        batch.write_text(f"{line}\n")
        arguments = ("-q", "-F", str(self.config), "-b", str(batch), self.host)
        return Command((find("sftp"), *arguments))


class SyncedSftpService(SftpService):
    def _sftp(self, line: str, client: int) -> Command:
        return super()._sftp(line.replace("put ", "put -f ", 1), client)


class Sftp(SshTool):
    service = SftpService

    def __init__(self, *, cipher: str | None = None, synced: bool = False) -> None:
        super().__init__(cipher=cipher)
        self.syncs = synced
        self.name = _named("sftp -f" if synced else "sftp", cipher)
        self.lacks = "no digest of the whole, no receipt; a cut leaves half a file in place"
        if synced:
            self.service = SyncedSftpService
        else:
            self.lacks = f"no sync, {self.lacks}"


class RsyncService(SshService):
    options: Sequence[str] = ()

    def put_file(self, source: Path, name: str, *, client: int = 0) -> Command:  # noqa: ARG002
        return self._rsync(str(source), self.remote(name))

    def put_directory(self, source: Path) -> Command:
        return self._rsync(f"{source}/", self.remote(""))

    def get_file(self, name: str, copy: Path) -> Command:
        return self._rsync(self.remote(name), str(copy))

    def _rsync(self, *arguments: str) -> Command:
        shell = shlex.join((find("ssh"), "-F", str(self.config)))
        return Command((find("rsync"), "-a", *self.options, "-e", shell, *arguments))


class SyncedRsyncService(RsyncService):
    options = ("--fsync",)


class ResumingRsyncService(RsyncService):
    options = ("--partial", "--append")

    def resume_file(self, source: Path, name: str) -> Command:
        return self.put_file(source, name)


class Rsync(SshTool):
    """rsync over ssh; `synced` with --fsync, `resuming` with --partial --append."""

    service = RsyncService

    def __init__(
        self, *, cipher: str | None = None, synced: bool = False, resuming: bool = False
    ) -> None:
        super().__init__(cipher=cipher)
        self.syncs = synced
        self.name = _named("rsync over ssh", cipher)
        self.lacks = "no sync, no receipt; a digest (weaker than SHA-256) of each file"
        if synced:
            self.service = SyncedRsyncService
            self.name = self.name.replace("rsync", "rsync --fsync")
            self.lacks = "no receipt; a digest (weaker than SHA-256) of each file"
        if resuming:
            self.service = ResumingRsyncService
            self.name = self.name.replace("rsync", "rsync --partial --append")
            self.lacks = "no sync, no receipt; what is there already is not compared"


class TarService(SshService):
    def put_directory(self, source: Path) -> Command:
        ssh = shlex.join((find("ssh"), "-F", str(self.config), self.host))
        there = shlex.quote(shlex.join(("tar", "-C", str(self.root), "-xf", "-")))
        here = shlex.join((find("tar"), "-C", str(source), "-cf", "-", "."))
        return Command((find("bash"), "-o", "pipefail", "-c", f"{here} | {ssh} {there}"))


class Tar(SshTool):
    service = TarService
    name = "tar over ssh"
    lacks = "no sync, no digest, no receipt; cannot be resumed"


def _named(name: str, cipher: str | None) -> str:
    return f"{name}, {cipher.partition('@')[0]}" if cipher else name


def make_key(path: Path) -> None:
    """Writes a new Ed25519 key pair: `path`, and with `.pub` its public part."""
    arguments = [find("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(arguments, check=True)


def _server_config(directory: Path, port: int, max_startups: str) -> str:
    sftp = next((path for path in _SFTP_SERVERS if path.exists()), None)
    if sftp is None:
        raise BenchmarkError("sshd's sftp-server is not there: install openssh-sftp-server")
    return f"""\
Port {port}
ListenAddress {HOST}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
LogLevel ERROR
MaxStartups {max_startups}
Subsystem sftp {sftp}
"""


def _client_config(directory: Path, port: int, cipher: str | None) -> str:
    kind, key, *_ = (directory / "host_key.pub").read_text().split()
    known = directory / "known_hosts"
    known.write_text(f"bench {kind} {key}\n")
    ciphers = f"  Ciphers {cipher}\n" if cipher else ""
    return f"""\
Host bench
  HostName {HOST}
  HostKeyAlias bench
  Port {port}
  User {getpass.getuser()}
  IdentityFile {directory}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {known}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  UpdateHostKeys no
  BatchMode yes
  LogLevel ERROR
{ciphers}"""
