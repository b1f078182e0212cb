"""The repository on MySQL or MariaDB: short transactions, repeated when that can help."""

import hashlib
import logging
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import mysql.connector

from server.repository.copying import copy_rows
from server.repository.errors import RepositoryUnavailable
from server.repository.migrations import migrate, require_newest
from server.repository.mysql_connections import MOST_CONNECTIONS, Address, Pool, Session
from server.repository.mysql_failures import Failure, failure, translated
from server.repository.mysql_lock import WAIT_SECONDS, ServerLock
from server.repository.sqlite import SqliteRepository
from server.repository.statements import SqlRepository
from server.repository.transactions import Dialect, T, Work

_log = logging.getLogger(__name__)

_KEEP_SECONDS = 1.0
_MARGIN_SECONDS = 5

_DIALECT = Dialect(
    types={
        "id": "BINARY(16)",
        "digest": "BINARY(32)",
        "name": "VARBINARY(255)",
        "file_name": "VARBINARY(1024)",
        "key": "BLOB",
        "path": "VARCHAR(255)",
        "word": "VARCHAR(255)",
        "names": "MEDIUMBLOB",
        "table": "ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin",
    },
    # Rows are locked in the order of the index that finds them, and that of names would do, too.
    lock_clients=(
        "SELECT id FROM clients FORCE INDEX (PRIMARY) WHERE id IN (?, ...) ORDER BY id FOR UPDATE"
    ),
    share_row=" LOCK IN SHARE MODE",
    # Not INSERT IGNORE, which also lets pass what is wrong with a row.
    skip_present="ON DUPLICATE KEY UPDATE id = id",
    table_exists=(
        "SELECT COUNT(*) FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = ?"
    ),
    column_exists=(
        "SELECT COUNT(*) FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND table_name = ? AND column_name = ?"
    ),
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a transaction is repeated before its caller hears of it: `conflicts` times after a
    deadlock or a lock-wait timeout, for `outage_seconds` without a connection. The pause doubles
    from `first_pause` to `longest_pause` (seconds), each shortened at random so that those who
    collided once do not collide again."""

    conflicts: int = 8
    outage_seconds: float = 15.0
    first_pause: float = 0.02
    longest_pause: float = 1.0

    def pause(self, repetition: int) -> float:
        longest = min(self.longest_pause, self.first_pause * 2.0 ** min(repetition, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 spreads load, keeps no secret


class MySQLRepository(SqlRepository):
    """A repository in the database at `address`, which exists; its tables are made or
    migrated when the repository opens. Unless it may `upgrade` them, older ones are `SchemaTooOld`;
    with None that method is called before any other but `hold` and `keep_hold`.

    At most `connections` transactions run at once; another waits `wait_seconds` for its turn, then
    `RepositoryUnavailable` is raised. `migration_seconds` bounds each statement of a migration, and
    the wait for another server that is migrating the same database."""

    dialect = _DIALECT

    def __init__(
        self,
        address: Address,
        *,
        connections: int = MOST_CONNECTIONS,
        wait_seconds: float = 30.0,
        migration_seconds: int = 600,
        patience: Patience | None = None,
        upgrade: bool | None = True,
    ) -> None:
        self._address = address
        self._patience = patience or Patience()
        self._pool = Pool(address, size=connections, wait_seconds=wait_seconds)
        self._server_lock = ServerLock(address)
        self._migration_seconds = migration_seconds
        if upgrade:
            self.upgrade()
        elif upgrade is not None:
            self._read(lambda session: require_newest(session, self.dialect))

    def upgrade(self) -> None:
        self._repeated(lambda: self._migrate(self._migration_seconds))

    def _migrate(self, seconds: int) -> None:
        # The lock's name is known to the whole server, which may keep other databases of ours.
        database = hashlib.sha256(self._address.database.encode()).hexdigest()[:32]
        patient = replace(self._address, answer_seconds=seconds + self._address.answer_seconds)
        # A session of its own, because the lock goes when the session does.
        with closing(Session(patient)) as session:
            ((locked,),) = session.rows("SELECT GET_LOCK(?, ?)", f"eft_{database}", seconds)
            if not locked:
                raise RepositoryUnavailable(
                    f"database {self._address}: another server has been migrating it "
                    f"for more than {seconds} s"
                )
            migrate(session, self.dialect)
            ((flushing,),) = session.rows("SELECT @@innodb_flush_log_at_trx_commit")
            session.commit()
        if int(flushing) != 1:
            _log.error(
                "database %s loses what it has committed when its machine loses power:"
                " set innodb_flush_log_at_trx_commit to 1, it is %s", self._address, flushing
            )  # fmt: skip

    def _read(self, work: Work[T]) -> T:
        return self._repeated(lambda: self._once(work))

    def _write(self, work: Work[T]) -> T:
        guarded = self._guarded(work)
        return self._repeated(lambda: self._once(guarded))

    def _once(self, work: Work[T]) -> T:
        with self._pool.session() as session:
            result = work(session)
            session.commit()
        return result

    def _repeated(self, attempt: Callable[[], T], patience: Patience | None = None) -> T:
        patience = patience or self._patience
        give_up = time.monotonic() + patience.outage_seconds
        repetition = 0
        while True:
            try:
                return attempt()
            except mysql.connector.Error as error:
                kind = failure(error)
                if kind is Failure.LOST:
                    self._pool.drop_idle()
                pause = patience.pause(repetition)
                again = (kind is Failure.CONFLICT and repetition < patience.conflicts) or (
                    kind is Failure.LOST and time.monotonic() + pause < give_up
                )
                told = translated(error, str(self._address))
                if not again:
                    raise told from error
            _log.warning("%s; trying again", told)
            time.sleep(pause)
            repetition += 1

    def copy_to(self, path: Path) -> None:
        with closing(SqliteRepository(path)) as copy:
            self._repeated(lambda: self._copy_to(copy))

    def _copy_to(self, copy: SqliteRepository) -> None:
        # A session of its own: as long as rows are streaming it can do nothing else.
        with closing(Session(self._address)) as session:
            session.usable = False  # whatever ends it early, answers are still on their way
            session.change("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            session.change("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            copy._write(lambda transaction: copy_rows(session, transaction))
            session.usable = True

    def hold(self, given_up: Callable[[], bool] | None = None) -> None:
        waited = 0
        while not self._repeated(lambda: self._server_lock.take(self._look)):
            waited += WAIT_SECONDS
            # Who lives asks every second, so it has been heard of since this wait began.
            if (
                given_up is None
                or given_up()
                or waited > self._address.idle_seconds + _MARGIN_SECONDS
                or self._repeated(self._server_lock.silence) < waited
            ):
                raise self._in_use()
            if waited == WAIT_SECONDS:
                _log.warning(
                    "%s is held by a server that asks nothing any more, as when its machine has"
                    " died: waiting up to %d s for the database to end its connection",
                    *(self._named(), self._address.idle_seconds),
                )

    def keep_hold(self) -> None:
        # Not on a connection of the pool, all of which may be busy for longer than the lock lasts.
        def keep() -> bool:
            return self._server_lock.take(self._look, wait_seconds=0)

        # Long enough for what is idle to be found dead: whoever calls it comes again soon.
        if not self._repeated(keep, replace(self._patience, outage_seconds=_KEEP_SECONDS)):
            raise self._in_use()

    def _named(self) -> str:
        return f"database {self._address}"

    def close(self) -> None:
        self._server_lock.close()
        self._pool.close()
