"""Faults of a MariaDB server that a server of ours uses, each for as long as a context lasts."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import mysql.connector

from tests.faults.injection import Injected
from tests.faults.relay import Relay
from tests.mariadb import MariaDB

_DEADLOCK = 1213
ACCOUNT = "plain"
"""An account with rights to one database alone: a read-only server is read-only for it."""


class Tenant:
    """One database of a MariaDB server, reached through a relay, and what may befall it."""

    def __init__(self, server: MariaDB, relay: Relay) -> None:
        self.server = server
        self.relay = relay
        self.name = server.new_database()
        self.account = f"{ACCOUNT}_{self.name}"
        self.url = f"mysql://{self.account}@127.0.0.1:{relay.port}/{self.name}"
        self.direct_url = server.url(self.name)
        server.run(
            f"CREATE USER {self.account}@'%'", f"GRANT ALL ON {self.name}.* TO {self.account}@'%'"
        )

    @contextmanager
    def stopped(self) -> Iterator[Injected]:
        """The server is shut down in order."""
        self.server.stop()
        try:
            yield Injected(1)
        finally:
            self.server.start()

    @contextmanager
    def slow(self) -> Iterator[Injected]:
        """Each statement takes 30 ms longer, and all of them one after the other."""
        self.relay.delay_seconds = 0.03
        try:
            yield Injected(1)
        finally:
            self.relay.delay_seconds = 0.0

    @contextmanager
    def read_only(self) -> Iterator[Injected]:
        """Nothing can be written."""
        self.server.run("SET GLOBAL read_only = 1")
        try:
            yield Injected(1)
        finally:
            self.server.run("SET GLOBAL read_only = 0")

    @contextmanager
    def wrong_password(self) -> Iterator[Injected]:
        """The account's password is another one by now, and its connections are ended."""
        self.server.run(f"ALTER USER {self.account}@'%' IDENTIFIED BY 'another'")
        self._end_connections()
        try:
            yield Injected(1)
        finally:
            self.server.run(f"ALTER USER {self.account}@'%' IDENTIFIED BY ''")

    def _end_connections(self) -> None:
        for (number,) in self.server.run(
            f"SELECT id FROM information_schema.processlist WHERE user = '{self.account}'"  # noqa: S608
        ):
            with suppress(mysql.connector.Error):
                self.server.run(f"KILL {number}")

    @contextmanager
    def locked(self) -> Iterator[Injected]:
        """Somebody holds locks on every row that a transaction of ours begins with."""
        with self.server.connect(database=self.name) as connection:
            cursor = connection.cursor(buffered=True)
            cursor.execute("SELECT id FROM clients FOR UPDATE")
            cursor.fetchall()
            try:
                yield Injected(1)
            finally:
                connection.rollback()

    @contextmanager
    def deadlocks(self) -> Iterator[Injected]:
        """Somebody takes the locks in the other order, again and again, and is the heavier one, so
        that it is our transactions that are rolled back."""
        self.server.run(
            "CREATE TABLE IF NOT EXISTS heavy (number INT PRIMARY KEY) ENGINE = InnoDB",
            database=self.name,
        )
        injected, stop = Injected(), threading.Event()
        before = self._deadlocks()
        thread = threading.Thread(target=self._collide, args=(stop,))
        thread.start()
        try:
            yield injected
        finally:
            stop.set()
            thread.join()
            injected.times = self._deadlocks() - before

    def _collide(self, stop: threading.Event) -> None:
        with self.server.connect(database=self.name) as connection:
            cursor = connection.cursor(buffered=True)
            while not stop.is_set():
                try:
                    cursor.execute("INSERT INTO heavy SELECT seq FROM seq_1_to_2000")
                    cursor.execute("SELECT file_name FROM files FOR UPDATE")
                    time.sleep(0.02)
                    cursor.execute("SELECT id FROM clients FOR UPDATE")
                except mysql.connector.Error as error:
                    if error.errno != _DEADLOCK:
                        raise
                connection.rollback()
                time.sleep(0.01)

    def _deadlocks(self) -> int:
        ((_, count),) = self.server.run("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")
        return int(count)
