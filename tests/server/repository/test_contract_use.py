"""One server at a time changes a database, and a newer one shuts an older one out."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from server.holding import Holding
from server.repository import Client, DatabaseInUse, Repository
from server.repository.mysql import MySQLRepository
from server.repository.mysql_connections import Address
from server.repository.mysql_lock import ServerLock
from tests.mariadb import MariaDB
from tests.server.repository.conftest import Open, OpenAt
from tests.server.repository.samples import client, stored_file

ID = bytes(range(16))


@pytest.fixture
def used(repository: Repository) -> Repository:
    """A database that a server uses."""
    repository.claim(ID)
    repository.hold()
    repository.begin_use(0, 1)
    return repository


def test_a_database_that_is_held_is_refused_until_it_is_let_go(
    used: Repository, open_another: Open
) -> None:
    other = open_another()
    with pytest.raises(DatabaseInUse, match="is in use by another server: stop that one") as told:
        other.hold()
    assert len(str(told.value).splitlines()) == 1
    used.close()
    other.hold()


def test_a_process_that_was_killed_holds_nothing(database_url: str, open_another: Open) -> None:
    program = (
        "import os, sys; from server.repository import open_repository;"
        "r = open_repository(sys.argv[1]); r.hold(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, database_url],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holding:  # fmt: skip
        assert holding.stdout is not None
        assert holding.stdout.readline() == b"\n"
        with pytest.raises(DatabaseInUse):
            open_another().hold()
        holding.kill()
    open_another().hold()


def test_those_who_administer_a_held_database_change_it(
    used: Repository, open_another: Open
) -> None:
    open_another().add_client(newcomer := client())
    assert used.find_client(newcomer.id) == newcomer


def test_starts_are_counted(used: Repository, open_another: Open) -> None:
    assert used.pairing() == (ID, 1)
    open_another().begin_use(1, 7)
    assert used.pairing() == (ID, 7)


def test_a_database_of_nobody_was_never_begun_with(repository: Repository) -> None:
    assert repository.pairing() is None
    with pytest.raises(DatabaseInUse):
        repository.begin_use(0, 1)


def test_whoever_began_earlier_changes_nothing_any_more(
    used: Repository, alice: Client, open_another: Open
) -> None:
    newer = open_another()
    newer.begin_use(1, 2)
    with pytest.raises(DatabaseInUse, match=r"another server has begun to use it$"):
        used.publish_file(stored_file(alice))
    assert used.taken_over
    assert list(newer.files(alice.id)) == []
    newer.publish_file(file := stored_file(alice))
    assert list(newer.files(alice.id)) == [file]
    assert not newer.taken_over


def test_whoever_changes_nothing_notices_too(used: Repository, open_another: Open) -> None:
    used.keep_hold()
    open_another().begin_use(1, 2)
    with pytest.raises(DatabaseInUse):
        used.keep_hold()
    assert used.taken_over


def test_of_those_who_begin_at_once_one_does(used: Repository, open_another: Open) -> None:
    def begins(one: Repository) -> bool:
        try:
            one.begin_use(1, 2)
        except DatabaseInUse:
            return False
        return True

    others = [open_another() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(begins, others)) == [False, False, False, True]
    assert used.pairing() == (ID, 2)


class TestMariaDB:
    @pytest.fixture
    def held(self, address: Address, open_at: OpenAt) -> MySQLRepository:
        repository = open_at(address)
        repository.claim(ID)
        repository.hold()
        repository.begin_use(0, 1)
        return repository

    def test_a_lock_that_was_lost_with_its_connection_is_taken_again(
        self, mariadb: MariaDB, held: MySQLRepository, open_at: OpenAt, address: Address
    ) -> None:
        processes = mariadb.run("SELECT id, db, user FROM information_schema.processlist")
        mariadb.run(
            *(f"KILL {each}" for each, *whose in processes if whose == [address.database, "eft"])
        )
        other = open_at(address)
        other.hold()
        with pytest.raises(DatabaseInUse, match="is in use by another server"):
            held.keep_hold()
        assert not held.taken_over
        other.close()
        held.keep_hold()
        with pytest.raises(DatabaseInUse):
            open_at(address).hold()

    def test_the_lock_of_a_server_that_asks_nothing_any_more_is_waited_for_and_told_of_once(
        self, address: Address, open_at: OpenAt, caplog: pytest.LogCaptureFixture
    ) -> None:
        open_at(replace(address, idle_seconds=8)).hold()
        with pytest.raises(DatabaseInUse):
            open_at(address).hold(lambda: True)
        assert caplog.text == ""
        open_at(address).hold(lambda: False)
        (told,) = [each.getMessage() for each in caplog.records]
        assert "asks nothing any more" in told

    def test_the_lock_of_a_server_that_lives_is_not_waited_for(
        self, held: MySQLRepository, address: Address, open_at: OpenAt
    ) -> None:
        patience = iter(range(20))
        with closing(Holding(held)), pytest.raises(DatabaseInUse, match="in use by another"):
            open_at(address).hold(lambda: next(patience, None) is None)
        assert next(patience, None) is not None

    def test_a_lock_is_looked_after_while_every_connection_is_busy(
        self, mariadb: MariaDB, address: Address, open_at: OpenAt
    ) -> None:
        busy = open_at(address, connections=1, wait_seconds=0.0)
        busy.hold()
        with busy._pool.session():
            busy.keep_hold()

    def test_a_lock_that_is_taken_while_its_repository_is_closed_is_let_go(
        self, address: Address
    ) -> None:
        lock = ServerLock(address)
        taken, going_on = threading.Event(), threading.Event()

        class Slow:
            """A turn that ends a moment after its end was decided."""

            def __init__(self) -> None:
                self._lock = threading.Lock()

            def __enter__(self) -> None:
                self._lock.acquire()

            def __exit__(self, *_: object) -> None:
                taken.set()
                going_on.wait()
                self._lock.release()

            def acquire(self, *, timeout: float) -> bool:
                going_on.set()
                return self._lock.acquire(timeout=timeout)

            def release(self) -> None:
                self._lock.release()

        lock._turn = Slow()  # type: ignore[assignment]
        with ThreadPoolExecutor(1) as thread:
            taking = thread.submit(lock.take, lambda _: None)
            taken.wait()
            lock.close()
            assert taking.result()
        with closing(ServerLock(address)) as another:
            assert another.take(lambda _: None)

    def test_a_lock_survives_a_restart_of_the_database(
        self, mariadb: MariaDB, held: MySQLRepository, open_at: OpenAt, address: Address
    ) -> None:
        mariadb.restart()
        held.keep_hold()
        with pytest.raises(DatabaseInUse):
            open_at(address).hold()

    def test_two_databases_of_one_server_are_held_apart(
        self, mariadb: MariaDB, held: MySQLRepository, open_at: OpenAt, address: Address
    ) -> None:
        other = open_at(replace(address, database=mariadb.new_database()))
        other.claim(ID)
        other.hold()
        other.begin_use(0, 1)
        held.keep_hold()
        other.keep_hold()
