"""A connector without a server, for what a real server cannot be made to do on demand."""

from collections import deque
from typing import Any
from unittest.mock import MagicMock

from server.repository.migrations import NEWEST_VERSION


class Driver:
    """Stands for `mysql.connector.connect`. Statements succeed without rows unless `answers` or
    `errors` has something for their beginning; errors are used up, answers are not. Every
    connection knows what was executed on it."""

    def __init__(self) -> None:
        self.arguments: list[dict[str, Any]] = []
        self.connections: list[Any] = []
        self.executed: list[tuple[str, tuple[Any, ...]]] = []
        self.refusals: deque[BaseException] = deque()
        self.commit_errors: deque[BaseException | None] = deque()
        self.errors: dict[str, deque[BaseException]] = {}
        self.answers: dict[str, list[tuple[Any, ...]]] = {
            "SELECT GET_LOCK": [(1,)],
            "SELECT COUNT(*) FROM information_schema": [(1,)],
            "SELECT MAX(version)": [(NEWEST_VERSION,)],
            "SELECT @@innodb_flush_log_at_trx_commit": [(1,)],
        }
        self.secure = False

    def connect(self, **arguments: object) -> MagicMock:
        if self.refusals:
            raise self.refusals.popleft()
        connection = MagicMock(is_secure=self.secure)
        cursor = connection.cursor.return_value
        cursor.rowcount = 1
        cursor.execute.side_effect = lambda sql, given: self._execute(cursor, sql, given)
        cursor.executemany.side_effect = lambda sql, rows: self._execute(cursor, sql, rows[0])
        connection.commit.side_effect = self._commit
        self.arguments.append(arguments)
        self.connections.append(connection)
        return connection

    def _execute(self, cursor: MagicMock, sql: str, parameters: tuple[Any, ...]) -> None:
        self.executed.append((sql, parameters))
        for beginning, errors in self.errors.items():
            if sql.startswith(beginning) and errors:
                raise errors.popleft()
        found = [rows for beginning, rows in self.answers.items() if sql.startswith(beginning)]
        cursor.fetchall.return_value = found[0] if found else []

    def _commit(self) -> None:
        if self.commit_errors and (error := self.commit_errors.popleft()):
            raise error

    def fail(self, beginning: str, *errors: BaseException) -> None:
        self.errors[beginning] = deque(errors)
