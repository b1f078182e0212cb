"""A database that stops, slows down, locks, refuses or loses connections, while files are sent."""

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.faults.aftermath import Watch
from tests.faults.conftest import Tell
from tests.faults.databases import Tenant
from tests.faults.injection import Injected, filled, mounted
from tests.faults.lengths import tried
from tests.faults.ordeals import endure, suffer
from tests.faults.processes import restartable
from tests.faults.relay import relay_to
from tests.faults.senders import NotSent, four_senders, two_hoarders
from tests.mariadb import MariaDB

_DELIVERED = (False, True)


@pytest.fixture(scope="module")
def tenant(mariadb: MariaDB) -> Iterator[Tenant]:
    """A database of its own, behind a relay."""
    with relay_to(mariadb.port) as relay:
        yield Tenant(mariadb, relay)


@pytest.fixture(scope="module")
def tenants_watch(tenant: Tenant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """A server that uses it."""
    data = tmp_path_factory.mktemp("tenant") / "data"
    with restartable(data, database_url=tenant.url) as server:
        watch = Watch(server, four_senders(server.port), inspected_url=tenant.direct_url)
        watch.warm_up()
        yield watch


Befall = Callable[[Tenant], AbstractContextManager[Injected]]


@pytest.mark.parametrize(
    ("fault", "befall", "seconds", "times"),
    [
        *tried("stopped and started", Tenant.stopped, 0.2, name="stopped", short=1, long=40),
        *tried("slow (30 ms a statement)", Tenant.slow, 0.5, name="slow", short=1, long=40),
        *tried("read-only", Tenant.read_only, 0.3, name="read-only", short=1, long=40),
        *tried("password changed", Tenant.wrong_password, 0.3, name="password", short=1, long=40),
        *tried("deadlocks", Tenant.deadlocks, 0.5, name="deadlocks", short=1, long=40),
        *tried("lock-wait timeout", Tenant.locked, 5.5, name="locked", short=1, long=20),
    ],
)
def test_a_database_in_trouble_loses_nothing_that_was_acknowledged(
    tenants_watch: Watch,
    tenant: Tenant,
    tell: Tell,
    fault: str,
    befall: Befall,
    seconds: float,
    times: int,
) -> None:
    outcome = suffer(tenants_watch, lambda _watch: befall(tenant), times=times, seconds=seconds)
    tell(tenants_watch, f"database {fault}", outcome)


@pytest.mark.parametrize("times", tried(name="cuts", short=4, long=600))
def test_a_connection_to_the_database_lost_at_any_statement_loses_nothing(
    tenants_watch: Watch, tenant: Tenant, tell: Tell, times: int
) -> None:
    watch, relay = tenants_watch, tenant.relay
    before = relay.cuts
    most = _requests_of_a_round(watch, tenant)

    def cut(number: int) -> float:
        # Every statement in turn, before it arrives and before its answer does.
        statement = number // 2 % most + 1 if times > most else random.randint(1, most)
        relay.cut_at_request(statement, delivered=_DELIVERED[number % 2])
        since = time.monotonic()
        _round(watch)
        relay.cut_at_request(0, delivered=False)
        return since

    outcome = endure(watch, cut, times=times)
    assert relay.cuts > before
    note = f"each of the first {most} statements of a round of sending"
    tell(watch, "connection to the database lost at a statement", outcome, note)


def _requests_of_a_round(watch: Watch, tenant: Tenant) -> int:
    before = tenant.relay.requests
    _round(watch)
    return tenant.relay.requests - before


def _round(watch: Watch) -> None:
    """Every sender connects anew and sends once, or fails to."""
    for sender in watch.senders:
        sender.close()
        try:
            sender.send()
        except NotSent:
            continue


@pytest.mark.parametrize("times", tried(name="full", short=1, long=20))
def test_a_database_whose_disk_is_full_loses_nothing_that_was_acknowledged(
    tmp_path: Path, tell: Tell, times: int
) -> None:
    with mounted(tmp_path / "disk", 160 * 2**20):
        server = MariaDB(tmp_path / "disk")
        try:
            url = server.url(server.new_database())
            with restartable(tmp_path / "data", database_url=url) as process:
                watch = Watch(process, two_hoarders(process.port))
                watch.warm_up()
                outcome = suffer(
                    watch, lambda _watch: filled(tmp_path / "disk"), times=times, seconds=1.0
                )
        finally:
            server.remove()
    tell(watch, "database's disk full", outcome)


@pytest.mark.parametrize("watch", ["sqlite"], indirect=True)
@pytest.mark.parametrize("times", tried(name="locked-file", short=1, long=20))
def test_a_database_file_that_another_process_locks_loses_nothing(
    watch: Watch, tell: Tell, times: int
) -> None:
    @contextmanager
    def locked(watch: Watch) -> Iterator[Injected]:
        with closing(sqlite3.connect(watch.server.data / "database", timeout=30)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN EXCLUSIVE")
            yield Injected(1)
            connection.execute("ROLLBACK")

    outcome = suffer(watch, locked, times=times, seconds=1.0)
    tell(watch, "database locked by another process for a second", outcome)


@pytest.mark.parametrize("times", tried(name="schema", short=1, long=20))
def test_a_database_of_a_newer_server_is_refused_and_left_as_it_is(
    watch: Watch, tell: Tell, times: int, mariadb: MariaDB
) -> None:
    def newer(_number: int) -> float:
        watch.server.stop()
        _execute(watch, mariadb, "INSERT INTO schema_version VALUES (1000)")
        assert "schema version 1000" in watch.server.start_in_vain()
        _execute(watch, mariadb, "DELETE FROM schema_version WHERE version = 1000")
        since = time.monotonic()
        watch.server.start()
        return since

    outcome = endure(watch, newer, times=times)
    note = "the start is refused with one line"
    tell(watch, "database's schema of a newer version", outcome, note)


@pytest.mark.parametrize("times", tried(name="second", short=1, long=20))
def test_a_second_server_on_the_same_data_directory_is_refused_and_does_no_harm(
    watch: Watch, tell: Tell, times: int
) -> None:
    def second(_number: int) -> float:
        assert "in use by another server" in watch.server.start_in_vain()
        return time.monotonic()

    outcome = endure(watch, second, times=times)
    note = "it is refused with one line"
    tell(watch, "second server process on the same data directory", outcome, note)


@pytest.mark.parametrize("times", tried(name="elsewhere", short=1, long=20))
def test_a_second_server_on_the_same_database_with_other_data_is_refused_and_does_no_harm(
    watch: Watch, tell: Tell, times: int, tmp_path: Path
) -> None:
    def elsewhere(number: int) -> float:
        told = watch.server.start_in_vain(tmp_path / f"elsewhere {number}")
        assert "in use by another server" in told
        return time.monotonic()

    fault = "second server process on the same database, with a data directory of its own"
    outcome = endure(watch, elsewhere, times=times)
    tell(watch, fault, outcome, "it is refused with one line")


def _execute(watch: Watch, mariadb: MariaDB, statement: str) -> None:
    if watch.database == "SQLite":
        with closing(sqlite3.connect(watch.server.data / "database")) as connection:
            connection.execute(statement)
            connection.commit()
    else:
        mariadb.run(statement, database=urlsplit(watch.server.database_url).path.strip("/"))
