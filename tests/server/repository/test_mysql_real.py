"""The MySQL repository against a real MariaDB that is restarted, killed and made to collide."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from mysql.connector import MySQLConnection

from server.repository import (
    Client,
    DatabaseInUse,
    Publication,
    RepositoryError,
    RepositoryUnavailable,
)
from server.repository.mysql import MySQLRepository, Patience
from server.repository.mysql_connections import Address
from server.repository.publishing import Batch
from server.repository.transactions import Transaction
from tests.mariadb import MariaDB
from tests.server.repository.conftest import OpenAt
from tests.server.repository.samples import client, stored_file

IMPATIENT = Patience(conflicts=0, outage_seconds=0.0)
PATIENT = Patience(outage_seconds=120.0)  # a busy machine starts a MariaDB slowly


@pytest.fixture
def alice(address: Address, open_at: OpenAt) -> Client:
    registered = client("Alice")
    open_at(address).add_client(registered)
    return registered


@pytest.fixture
def meddler(mariadb: MariaDB, address: Address) -> Iterator[MySQLConnection]:
    """Another user of the database, who holds locks."""
    with closing(mariadb.connect(database=address.database)) as connection:
        yield connection


def _change(connection: MySQLConnection, sql: str, *parameters: bytes) -> None:
    with closing(connection.cursor(buffered=True)) as cursor:
        cursor.execute(sql, parameters)


def _lock_client(connection: MySQLConnection, locked: Client) -> None:
    _change(connection, "SELECT id FROM clients WHERE id = %s FOR UPDATE", locked.id)


def _who_waits_for_a_lock(mariadb: MariaDB) -> int:
    """The connection that waits, once there is one."""
    while True:
        waiting = mariadb.run(
            # Joined, since InnoDB repeats an answer of a moment ago, when another one waited.
            "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx "
            "JOIN information_schema.processlist ON id = trx_mysql_thread_id "
            "WHERE trx_state = 'LOCK WAIT'"
        )
        if waiting:
            return int(waiting[0][0])
        time.sleep(0.11)  # asked more often, InnoDB repeats its last answer


class TestOutages:
    def test_what_was_acknowledged_survives_a_crash_that_clients_do_not_notice(
        self, mariadb: MariaDB, address: Address, open_at: OpenAt
    ) -> None:
        repository = open_at(address, patience=PATIENT)
        crashed = threading.Event()
        acknowledged = threading.Semaphore(0)

        def register_until_after_the_crash(thread: int) -> list[Client]:
            registered: list[Client] = []
            while not crashed.is_set() or len(registered) % 5:
                newcomer = client(f"{thread} {len(registered)}")
                repository.add_client(newcomer)
                registered.append(newcomer)
                acknowledged.release()
            return registered

        with ThreadPoolExecutor(3) as threads:
            registering = [
                threads.submit(register_until_after_the_crash, each) for each in range(3)
            ]
            for _ in range(15):
                acknowledged.acquire()
            mariadb.kill()
            mariadb.start()
            crashed.set()
            registered = [newcomer for each in registering for newcomer in each.result()]

        found = {each.id for each in repository.clients()}
        assert found == {newcomer.id for newcomer in registered}

    def test_idle_connections_killed_by_the_server_go_unnoticed(
        self, mariadb: MariaDB, address: Address, alice: Client, open_at: OpenAt
    ) -> None:
        repository = open_at(address)
        with repository._pool.session(), repository._pool.session():
            pass
        processes = mariadb.run("SELECT id, db, user FROM information_schema.processlist")
        ours = [each for each, *whose in processes if whose == [address.database, "eft"]]
        mariadb.run(*(f"KILL {each}" for each in ours))
        assert len(ours) >= 2
        assert repository.find_client(alice.id) == alice

    def test_a_connection_killed_in_the_middle_of_a_transaction_goes_unnoticed(
        self,
        mariadb: MariaDB,
        address: Address,
        alice: Client,
        meddler: MySQLConnection,
        open_at: OpenAt,
    ) -> None:
        repository = open_at(address)
        _lock_client(meddler, alice)
        file = stored_file(alice)
        with ThreadPoolExecutor(1) as thread:
            publishing = thread.submit(repository.publish_file, file)
            mariadb.run(f"KILL {_who_waits_for_a_lock(mariadb)}")
            meddler.rollback()
            publishing.result()
        assert list(repository.files(alice.id)) == [file]

    def test_a_machine_that_died_in_a_transaction_keeps_no_other_from_beginning(
        self, address: Address, alice: Client, open_at: OpenAt
    ) -> None:
        dying, newer = open_at(replace(address, idle_seconds=1)), open_at(address)
        dying.claim(bytes(16))
        dying.begin_use(0, 1)
        silent, silenced = threading.Event(), threading.Event()

        def fall_silent(transaction: Transaction) -> None:
            transaction.change("UPDATE clients SET last_seen = 77")
            silent.set()
            silenced.wait()

        with ThreadPoolExecutor(1) as thread:
            late = thread.submit(dying._write, fall_silent)
            silent.wait()
            try:
                newer.begin_use(1, 2)
            finally:
                silenced.set()
            with pytest.raises(DatabaseInUse):
                late.result()
        found = newer.find_client(alice.id)
        assert found is not None
        assert found.last_seen != 77

    def test_connections_that_the_server_ends_for_their_idleness_are_not_used_again(
        self,
        mariadb: MariaDB,
        address: Address,
        alice: Client,
        open_at: OpenAt,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        repository = open_at(replace(address, idle_seconds=1))
        assert repository.find_client(alice.id) == alice
        processes = "SELECT id FROM information_schema.processlist WHERE user = 'eft'"
        newest = max(mariadb.run(processes))
        while newest in mariadb.run(processes):
            time.sleep(0.05)
        assert repository.find_client(alice.id) == alice
        assert caplog.text == ""

    def test_a_server_that_is_down_is_unavailable_in_one_line(self, address: Address) -> None:
        absent = replace(address, unix_socket="/nowhere/socket")
        with pytest.raises(RepositoryUnavailable) as refused:
            MySQLRepository(absent, patience=IMPATIENT)
        assert str(refused.value).startswith(f"database {address.database} on /nowhere/socket: ")
        assert len(str(refused.value).splitlines()) == 1

    def test_a_server_that_starts_late_is_waited_for(
        self, mariadb: MariaDB, address: Address, open_at: OpenAt
    ) -> None:
        mariadb.stop()
        with ThreadPoolExecutor(1) as thread:
            opening = thread.submit(open_at, address, patience=PATIENT)
            mariadb.start()
            assert list(opening.result().clients()) == []

    def test_a_server_that_does_not_answer_is_unavailable(
        self, address: Address, alice: Client, meddler: MySQLConnection, open_at: OpenAt
    ) -> None:
        repository = open_at(replace(address, answer_seconds=1), patience=IMPATIENT)
        _lock_client(meddler, alice)
        with pytest.raises(RepositoryUnavailable, match="no answer within the time limit"):
            repository.publish_file(stored_file(alice))


class TestCollisions:
    def test_a_deadlock_is_repeated_until_it_is_resolved(
        self,
        mariadb: MariaDB,
        address: Address,
        alice: Client,
        meddler: MySQLConnection,
        open_at: OpenAt,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        repository = open_at(address)
        for number in range(50):
            repository.publish_file(stored_file(alice, str(number)))
        # The repository locks client, then file; we file, then client. Having changed more rows
        # saves us from being the victim.
        _change(meddler, "UPDATE files SET received_at = 1")
        newer = stored_file(alice, "7")
        with ThreadPoolExecutor(1) as thread:
            publishing = thread.submit(repository.publish_file, newer)
            _who_waits_for_a_lock(mariadb)
            _change(meddler, "UPDATE clients SET last_seen = 1")
            meddler.commit()
            publishing.result()
        assert "Deadlock" in caplog.text
        assert repository.find_file(alice.id, "7") == newer

    def test_a_lock_wait_timeout_is_repeated_until_the_lock_is_free(
        self, address: Address, alice: Client, meddler: MySQLConnection, open_at: OpenAt
    ) -> None:
        class Releasing(Patience):
            def pause(self, repetition: int) -> float:
                meddler.rollback()
                return 0.0

        repository = open_at(replace(address, lock_seconds=1), patience=Releasing(conflicts=1))
        _lock_client(meddler, alice)
        file = stored_file(alice)
        repository.publish_file(file)
        assert repository.find_file(alice.id, file.name) == file

    def test_a_lock_that_is_never_free_is_an_error(
        self, address: Address, alice: Client, meddler: MySQLConnection, open_at: OpenAt
    ) -> None:
        repository = open_at(replace(address, lock_seconds=1), patience=IMPATIENT)
        _lock_client(meddler, alice)
        with pytest.raises(RepositoryError, match="Lock wait timeout"):
            repository.record_reconnect(alice.id, b"key", 1)

    def test_a_server_that_begins_waits_for_a_change_of_the_one_before(
        self, mariadb: MariaDB, address: Address, alice: Client, open_at: OpenAt
    ) -> None:
        older, newer = open_at(address), open_at(address)
        older.claim(bytes(16))
        older.begin_use(0, 1)
        beginning: list[Future[None]] = []
        with ThreadPoolExecutor(1) as thread:

            def begin_meanwhile(transaction: Transaction) -> None:
                beginning.append(thread.submit(newer.begin_use, 1, 2))
                _who_waits_for_a_lock(mariadb)
                transaction.change("UPDATE clients SET last_seen = 77")

            older._write(begin_meanwhile)
        assert [each.result() for each in beginning] == [None]
        found = newer.find_client(alice.id)
        assert found is not None
        assert found.last_seen == 77
        assert newer.pairing() == (bytes(16), 2)

    def test_what_becomes_of_an_object_is_told_once_its_commit_is_over(
        self, mariadb: MariaDB, address: Address, alice: Client, open_at: OpenAt
    ) -> None:
        publishing, asking = open_at(address), open_at(address)
        file = stored_file(alice)
        publish = Batch([Publication(file)], publishing.dialect, None, None)
        answers: list[Future[set[bytes]]] = []
        with ThreadPoolExecutor(1) as thread:

            def ask_before_the_commit(transaction: Transaction) -> None:
                publish(transaction)
                answers.append(thread.submit(asking.known_objects, alice.id, [file.object_id]))
                _who_waits_for_a_lock(mariadb)

            publishing._write(ask_before_the_commit)
        assert [each.result() for each in answers] == [{file.object_id}]


def test_a_parameter_of_no_known_type_is_an_error_and_the_database_stays_usable(
    address: Address, alice: Client, open_at: OpenAt
) -> None:
    repository = open_at(address, patience=Patience(outage_seconds=float("inf")))
    wrong: Any = object()
    with pytest.raises(RepositoryError, match="format-parameters") as told:
        repository._read(lambda transaction: transaction.rows("SELECT ?", wrong))
    assert type(told.value) is RepositoryError
    assert repository.find_client(alice.id) == alice
