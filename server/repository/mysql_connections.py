"""Connections to MySQL or MariaDB: opened safely, lent to one thread at a time, dropped when bad.

mysql-connector's own pool is not used. It opens every connection when it is made, and it pings and
reconnects under one lock of the whole process, so that one connection that hangs stops all threads;
it also reconnects silently, and a session that is not encrypted would go unseen.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import mysql.connector
from mysql.connector.constants import ClientFlag

from server.repository.errors import RepositoryError, RepositoryUnavailable
from server.repository.mysql_failures import DUPLICATE_KEY, driver_calls, is_an_answer
from server.repository.transactions import (
    BATCH_ROWS,
    DuplicateRow,
    Parameter,
    Row,
    Transaction,
)

MOST_CONNECTIONS = 32

# Without a strict mode an over-long name or a number out of range is stored, shortened.
_SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is and who asks. A session is encrypted unless it stays on this machine;
    with `ssl_ca` the server must prove its name by a certificate. Times are in whole seconds; a
    session that asks nothing for `idle_seconds` is ended by the server, with all its locks."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False, default="")
    unix_socket: str | None = None
    ssl_ca: str | None = None
    connect_seconds: int = 10
    answer_seconds: int = 30
    lock_seconds: int = 5
    idle_seconds: int = 60

    def __str__(self) -> str:
        where = self.unix_socket or f"{self.host}:{self.port}"
        return f"{self.database} on {where}"

    @property
    def stays_on_this_machine(self) -> bool:
        if self.unix_socket or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


class Session(Transaction):
    """An open connection with its one cursor; a transaction begins with its first statement."""

    def __init__(self, address: Address) -> None:
        self.usable = True
        with driver_calls():
            self._connection: Any = mysql.connector.connect(**_arguments(address))
        try:
            self._require_encryption(address)
            with driver_calls():
                # Kept, because the driver pings the server for every cursor that it makes.
                self._cursor: Any = self._connection.cursor(buffered=True)
            self.change("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            # A machine that dies in a transaction would keep its locks for wait_timeout's eight
            # hours. Rows that are streaming are no idle time, and ours between statements is short.
            self.change(
                "SET SESSION innodb_lock_wait_timeout = ?, SESSION wait_timeout = ?",
                *(address.lock_seconds, address.idle_seconds),
            )
        except BaseException:
            self.close()
            raise

    def _require_encryption(self, address: Address) -> None:
        # Asked of our own end: a server's word for it would pass through whoever took TLS away.
        if not address.stays_on_this_machine and not self._connection.is_secure:
            raise RepositoryUnavailable(
                f"database {address}: the server does not offer TLS, which is required "
                "unless the connection stays on this machine"
            )

    def rows(self, sql: str, *parameters: Parameter) -> list[Row]:
        self._execute(sql, parameters)
        with driver_calls():
            rows: list[Row] = self._cursor.fetchall()
        return rows

    def stream(self, sql: str) -> Iterator[Row]:
        with driver_calls():
            cursor: Any = self._connection.cursor(buffered=False)
            cursor.execute(sql)
        while True:
            with driver_calls():
                rows: list[Row] = cursor.fetchmany(BATCH_ROWS)
            if not rows:
                break
            yield from rows
        with driver_calls():
            cursor.close()

    def change(self, sql: str, *parameters: Parameter) -> int:
        with _duplicates_told():
            self._execute(sql, parameters)
        count: int = self._cursor.rowcount
        return count

    def insert(self, sql: str, rows: Sequence[tuple[Parameter, ...]]) -> None:
        # The driver makes one statement of them, whose size the server limits (max_allowed_packet).
        for start in range(0, len(rows), BATCH_ROWS):
            with _duplicates_told(), driver_calls():
                self._cursor.executemany(sql.replace("?", "%s"), rows[start : start + BATCH_ROWS])

    def _execute(self, sql: str, parameters: tuple[Parameter, ...]) -> None:
        with driver_calls():
            self._cursor.execute(sql.replace("?", "%s"), parameters)

    def commit(self) -> None:
        with driver_calls():
            self._connection.commit()

    def abandon(self, error: BaseException) -> None:
        """Undoes the transaction that `error` ended; afterwards the session is clean or not
        `usable`."""
        in_step = isinstance(error, RepositoryError) or (
            isinstance(error, mysql.connector.Error) and is_an_answer(error)
        )
        # After any other error an answer may still be on its way, and would be taken for that of
        # the next statement.
        self.usable = False
        if in_step:
            with suppress(mysql.connector.Error), driver_calls():
                self._connection.rollback()
                self.usable = True

    def close(self) -> None:
        with suppress(mysql.connector.Error), driver_calls():
            if not self.usable:
                self._connection.shutdown()  # no QUIT into a talk that is out of step
            self._connection.close()


class Pool:
    """At most `size` sessions, each used by one thread at a time, the most recent first, and none
    that the server may be about to end for its idleness."""

    def __init__(self, address: Address, *, size: int, wait_seconds: float) -> None:
        if not 1 <= size <= MOST_CONNECTIONS:
            raise ValueError(f"a pool holds 1 to {MOST_CONNECTIONS} connections, not {size}")
        self._address = address
        self._size = size
        self._wait_seconds = wait_seconds
        self._places = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Session]] = []
        self._closed = False

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Lends a session, a new one if none is idle.

        Raises `RepositoryUnavailable` when all are lent for longer than `wait_seconds`."""
        if not self._places.acquire(timeout=self._wait_seconds):
            raise RepositoryUnavailable(
                f"database {self._address}: all {self._size} connections were busy "
                f"for {self._wait_seconds:g} s"
            )
        try:
            session = self._take()
            try:
                yield session
            except BaseException as error:
                session.abandon(error)
                raise
            finally:
                self._give_back(session)
        finally:
            self._places.release()

    def _take(self) -> Session:
        with self._lock:
            if self._closed:
                raise RepositoryError(f"database {self._address}: the repository is closed")
            if self._idle and self._idle[-1][0] > time.monotonic() - self._address.idle_seconds / 2:
                return self._idle.pop()[1]
        self.drop_idle()  # the most recent one is too old, so all are
        return Session(self._address)

    def _give_back(self, session: Session) -> None:
        with self._lock:
            if session.usable and not self._closed:
                self._idle.append((time.monotonic(), session))
                return
        session.close()

    def drop_idle(self) -> None:
        """Closes the sessions that nobody uses: where one was lost, the others are likely dead."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, session in idle:
            session.close()

    def close(self) -> None:
        """Closes the idle sessions now and those in use when they come back."""
        with self._lock:
            self._closed = True
        self.drop_idle()


@contextmanager
def _duplicates_told() -> Iterator[None]:
    try:
        yield
    except mysql.connector.Error as error:
        if error.errno in DUPLICATE_KEY:
            raise DuplicateRow(str(error.msg)) from error
        raise


def _arguments(address: Address) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "use_pure": True,  # the C extension and Python's ssl exclude each other
        "user": address.user,
        "password": address.password,
        "database": address.database,
        "charset": "utf8mb4",
        "collation": "utf8mb4_bin",
        "sql_mode": _SQL_MODE,
        "autocommit": False,
        "connection_timeout": address.connect_seconds,
        "read_timeout": address.answer_seconds,
        "write_timeout": address.answer_seconds,
        "allow_local_infile": False,
        # Rows met, not rows altered: repeating an UPDATE must report the same number. For the
        # attributes of a connection the driver runs a program each time, lsb_release.
        "client_flags": [
            ClientFlag.FOUND_ROWS,
            -ClientFlag.MULTI_STATEMENTS,
            -ClientFlag.CONNECT_ARGS,
        ],
    }
    if address.unix_socket:
        # The driver has no TLS on a socket, and warns when the server offers it.
        return arguments | {"unix_socket": address.unix_socket, "ssl_disabled": True}
    arguments |= {"host": address.host, "port": address.port}
    if address.ssl_ca:
        arguments |= {
            "ssl_ca": address.ssl_ca,
            "ssl_verify_cert": True,
            "ssl_verify_identity": True,
        }
    return arguments
