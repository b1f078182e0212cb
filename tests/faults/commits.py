"""A MySQL or MariaDB database as the sequence of its commits, and its rows after each of them.

What a server asked of its database is read from its system calls, which tell when each commit was
asked for and when it had been answered, between which changes of its files. InnoDB keeps across a
power cut what it has answered for (`innodb_flush_log_at_trx_commit = 1`); what it has not answered
for it may have kept or not.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.repository import open_repository
from tests.faults.tracing import Call
from tests.mariadb import MariaDB

NEVER = 1 << 62
_QUERY = 3  # COM_QUERY: text to the end of the packet
_CHANGES = (b"INSERT", b"UPDATE", b"DELETE")

Table = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Commit:
    """A transaction that changed something: its changes, the time at which its commit was asked
    for, and the lines of the record in which that began and was answered, the latter `NEVER` where
    the record ends before."""

    statements: tuple[bytes, ...]
    at: float
    begun: int
    answered: int = NEVER


@dataclass
class _Talk:
    """What went over one connection so far."""

    sent: bytearray = field(default_factory=bytearray)
    statements: list[bytes] = field(default_factory=list)
    unanswered: Commit | None = None

    def send(self, call: Call) -> None:
        self.sent += call.data(1)[: call.result]
        while len(self.sent) >= 4:
            end = 4 + int.from_bytes(self.sent[:3], "little")
            if len(self.sent) < end:
                return
            number, payload = self.sent[3], bytes(self.sent[4:end])
            del self.sent[:end]
            if number == 0 and payload[0] == _QUERY:
                self._ask(payload[1:], call)

    def _ask(self, text: bytes, call: Call) -> None:
        if text.startswith(_CHANGES):
            self.statements.append(text)
        elif text == b"ROLLBACK":
            self.statements.clear()
        elif text == b"COMMIT" and self.statements:
            self.unanswered = Commit(tuple(self.statements), call.at, call.begun)
            self.statements.clear()


def commits(calls: Iterable[Call], unix_socket: Path) -> list[Commit]:
    """The commits of the process whose calls these are, in the order in which they were answered,
    to the database server that listens there."""
    talks: dict[int, _Talk] = {}
    found: list[Commit] = []
    where = "".join(f"\\x{byte:02x}" for byte in bytes(unix_socket))
    for call in calls:
        descriptor = call.descriptor() if call.arguments[0][:1].isdigit() else -1
        if call.name == "connect" and any(where in argument for argument in call.arguments):
            talks[descriptor] = _Talk()
        elif descriptor not in talks:
            continue
        elif call.name == "close":
            del talks[descriptor]
        elif call.name == "sendto":
            talks[descriptor].send(call)
        elif call.name == "recvfrom" and call.result:
            talk = talks[descriptor]
            if talk.unanswered is not None:
                one = talk.unanswered
                found.append(Commit(one.statements, one.at, one.begun, call.ended))
                talk.unanswered = None
    return found + [talk.unanswered for talk in talks.values() if talk.unanswered is not None]


class Rows:
    """All rows of a database after each of some commits, in a database of its own."""

    def __init__(self, server: MariaDB, done: Iterable[Commit]) -> None:
        """Carries the commits out once more."""
        name = server.new_database()
        self.url = server.url(name)
        with closing(open_repository(self.url)):
            pass
        self._connection = server.connect(database=name)
        self._connection.cmd_query("SET SESSION foreign_key_checks = 0")
        self._states = [contents(self._connection)]
        for commit in done:
            for statement in commit.statements:
                self._connection.cmd_query(statement)
            self._connection.commit()
            self._states.append(contents(self._connection))

    def state(self, commits: int) -> dict[str, Table]:
        """The rows of each table after so many commits."""
        return self._states[commits]

    def put_back(self, commits: int) -> None:
        """Makes the database what it was after so many commits, whatever was done to it since."""
        cursor = self._connection.cursor()
        for table, rows in self._states[commits].items():
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - a name of ours
            if rows:
                marks = ", ".join(["%s"] * len(rows[0]))
                cursor.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
        cursor.close()
        self._connection.commit()

    def close(self) -> None:
        """Ends the connection."""
        self._connection.close()


def contents(connection: Any) -> dict[str, Table]:  # noqa: ANN401 - the driver's, without types
    """Every row of every table but the version of the schema."""
    cursor = connection.cursor(buffered=True)
    cursor.execute("SHOW TABLES")
    tables = {str(row[0]) for row in cursor.fetchall()} - {"schema_version"}
    found = {}
    for table in sorted(tables):
        cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name of ours
        found[table] = sorted(
            tuple(bytes(value) if isinstance(value, bytearray) else value for value in row)
            for row in cursor.fetchall()
        )
    cursor.close()
    connection.rollback()  # the next look is at what is committed by then
    return found
