"""A MariaDB server of the tests' own: private directory, socket and loopback port."""

import getpass
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import mysql.connector
from mysql.connector import MySQLConnection

START_SECONDS = 60
PASSWORD = "correct horse"


class MariaDB:
    """A server with two accounts: `eft`, without a password, and `guarded`, whose password is
    `PASSWORD`; both may do everything. It offers TLS on its port, with a certificate for localhost
    and 127.0.0.1 that `ca` verifies, unless started with `--skip-ssl`."""

    def __init__(self, parent: Path | None = None) -> None:
        """Its files are in a directory of their own in `parent`, or where temporary files are."""
        for program in ("mariadbd", "mariadb-install-db", "openssl"):
            if _find(program) is None:
                raise RuntimeError(
                    f"{program} is missing: these tests need a real database server, "
                    "install it with: apt-get install mariadb-server openssl"
                )
        # Not pytest's own: its paths are longer than the 107 bytes of a socket's.
        self.directory = Path(tempfile.mkdtemp(prefix="eft-mariadb-", dir=parent))
        self.unix_socket = self.directory / "socket"
        self.ca = self.directory / "certificate.pem"
        self.port = _free_port()
        self._names = (f"eft_{number}" for number in itertools.count(1))
        self._process: subprocess.Popen[bytes] | None = None
        self._install()
        self.start()
        self._make_accounts()

    @property
    def _own_temporary_files(self) -> str:
        # A server that starts removes temporary tables from there, those of other servers too.
        return f"--tmpdir={self.directory}"

    def _install(self) -> None:
        _run(
            "mariadb-install-db",
            "--no-defaults",
            f"--user={getpass.getuser()}",
            f"--datadir={self.directory / 'data'}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=4M",
            self._own_temporary_files,
        )
        make_certificate(self.ca, self.directory / "key.pem")

    def start(self, *arguments: str) -> None:
        """Starts the server, with further arguments for this run, and waits until it answers."""
        log = self.directory / "log"
        self._process = subprocess.Popen(
            [
                _find("mariadbd") or "mariadbd",
                "--no-defaults",
                f"--user={getpass.getuser()}",
                f"--datadir={self.directory / 'data'}",
                f"--socket={self.unix_socket}",
                f"--port={self.port}",
                f"--pid-file={self.directory / 'pid'}",
                f"--log-error={log}",
                self._own_temporary_files,
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=8M",
                "--innodb-log-file-size=4M",
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-fast-shutdown=2",
                "--max-connections=200",
                "--performance-schema=OFF",
                f"--ssl-cert={self.ca}",
                f"--ssl-key={self.directory / 'key.pem'}",
                *arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mariadbd does not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with self.connect():
                return True
        except mysql.connector.Error:
            return False

    def stop(self) -> None:
        """Shuts the server down in order; nothing if it does not run."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """Ends the server as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, *arguments: str) -> None:
        """Stops and starts, with further arguments for this run."""
        self.stop()
        self.start(*arguments)

    def remove(self) -> None:
        """Ends the server and deletes its directory."""
        self.kill()
        shutil.rmtree(self.directory)

    def connect(self, **arguments: object) -> MySQLConnection:
        """A connection of root's, for tests that look or meddle behind the repository's back."""
        given: dict[str, object] = {
            "unix_socket": str(self.unix_socket),
            "user": "root",
            "ssl_disabled": True,
            "collation": "utf8mb4_bin",
        }
        return MySQLConnection(**(given | arguments))

    def run(self, *statements: str, database: str | None = None) -> list[Any]:
        """Runs statements as root, committed one by one, and returns the rows of the last."""
        rows: list[Any] = []
        with self.connect(autocommit=True, database=database) as connection:
            for statement in statements:
                cursor = connection.cursor(buffered=True)
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
                cursor.close()
        return rows

    def _make_accounts(self) -> None:
        self.run(
            "CREATE USER eft@'%'",
            f"CREATE USER guarded@'%' IDENTIFIED BY '{PASSWORD}'",
            "GRANT ALL ON *.* TO eft@'%', guarded@'%'",
        )

    def new_database(self) -> str:
        """Makes an empty database and returns its name."""
        name = next(self._names)
        self.run(f"CREATE DATABASE {name}")
        return name

    def url(self, database: str) -> str:
        """The URL of a database by the socket, for an account without a password."""
        return f"mysql://eft@localhost/{database}?unix_socket={self.unix_socket}"


def make_certificate(certificate: Path, key: Path) -> None:
    """Writes a self-signed certificate for localhost and 127.0.0.1, and its key."""
    _run(
        *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
    )


def _find(program: str) -> str | None:
    # Debian keeps the server where ordinary users' shells do not look.
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{(done.stdout + done.stderr).decode()[-2000:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
