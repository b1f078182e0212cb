"""The MySQL repository on a connector that is played: what it sends, repeats and says."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from unittest.mock import Mock

import mysql.connector
import pytest
from mysql.connector.constants import ClientFlag
from mysql.connector.errors import (
    DatabaseError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    ReadTimeoutError,
)

from server.repository import Action, Event, NameTaken, RepositoryError, RepositoryUnavailable
from server.repository.mysql import MySQLRepository, Patience
from server.repository.mysql_connections import Address
from tests.server.repository.played_driver import Driver
from tests.server.repository.samples import client, content4, publication, sign, stored_file

ADDRESS = Address("localhost", 3306, "eft", "eft", password="hunter2")
QUICK = Patience(conflicts=3, outage_seconds=5.0, first_pause=0.0, longest_pause=0.0)

LOCK = "SELECT id FROM clients FORCE INDEX (PRIMARY)"

DEADLOCK = InternalError(errno=1213, msg="Deadlock found")
LOST = OperationalError(errno=2013)
DUPLICATE = IntegrityError(errno=1062, msg="Duplicate entry")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    played = Driver()
    monkeypatch.setattr(mysql.connector, "connect", played.connect)
    return played


@pytest.fixture
def repository(driver: Driver) -> Iterator[MySQLRepository]:
    with closing(MySQLRepository(ADDRESS, patience=QUICK)) as opened:
        driver.connections.clear()
        driver.executed.clear()
        yield opened


def test_a_change_is_committed(repository: MySQLRepository, driver: Driver) -> None:
    repository.add_client(client())
    assert driver.connections[0].commit.call_count == 1


def test_a_refusal_is_rolled_back_and_not_committed(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.fail("INSERT INTO clients", DUPLICATE)
    driver.answers["SELECT id FROM clients WHERE name"] = [(os.urandom(16),)]
    with pytest.raises(NameTaken):
        repository.add_client(client())
    assert driver.connections[0].commit.call_count == 0
    assert driver.connections[0].rollback.call_count == 1


def test_a_connection_that_was_rolled_back_is_used_again(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.fail("SELECT id, name", ProgrammingError(errno=1142, msg="denied"))
    with pytest.raises(RepositoryError):
        repository.find_client(b"x")
    repository.find_client(b"x")
    assert len(driver.connections) == 1


def test_values_travel_as_parameters_and_never_in_the_statement(
    repository: MySQLRepository, driver: Driver
) -> None:
    hostile = client("'; DROP TABLE clients; --")
    repository.add_client(hostile)
    sql, parameters = next(each for each in driver.executed if each[0].startswith("INSERT"))
    assert "DROP" not in sql
    name = hostile.name.encode()
    assert parameters == (hostile.id, name, 1700000000, 1700000001, None, None, False)


def test_every_statement_has_as_many_marks_as_parameters(
    repository: MySQLRepository, driver: Driver
) -> None:
    owner = client()
    driver.answers[LOCK] = [(owner.id,)]
    driver.answers["SELECT file_name"] = [(b"report.txt", os.urandom(16), None, 1)]
    driver.answers["SELECT COUNT(*), SUM"] = [(0, None, None)]
    repository.publish_file(stored_file(owner))
    repository.find_file(owner.id, "name")
    repository.usage(owner.id)
    repository.forget_superseded(os.urandom(16))
    assert [sql.count("%s") for sql, _ in driver.executed] == [
        len(parameters) for _, parameters in driver.executed
    ]


def test_a_batch_takes_one_commit_and_as_many_statements_for_256_files_as_for_one(
    repository: MySQLRepository, driver: Driver
) -> None:
    owner = client()
    driver.answers[LOCK] = [(owner.id,)]
    repository.publish(
        [publication(content4(owner))], sign
    )  # opens the connection, which takes some
    counts: list[int] = []
    for files in (1, 256):
        driver.executed.clear()
        repository.publish([publication(content4(owner, str(each))) for each in range(files)], sign)
        counts.append(len(driver.executed))
    assert counts[0] == counts[1]
    assert driver.connections[0].commit.call_count == 3


def test_the_event_of_a_batch_is_one_row_in_its_transaction(
    repository: MySQLRepository, driver: Driver
) -> None:
    owner = client()
    driver.answers[LOCK] = [(owner.id,)]
    event = Event(Action.UPLOAD, client="Alice", address="192.0.2.7", at=1)
    repository.publish(
        [publication(content4(owner, str(each))) for each in range(256)], sign, event
    )
    (told,) = [given for sql, given in driver.executed if sql.startswith("INSERT INTO audit")]
    names = "\n".join(map(str, range(256))).encode()
    assert told[:4] == (1, event.id, "upload", "ok")
    assert names in told
    assert driver.connections[0].commit.call_count == 1


def test_an_event_whose_commit_was_lost_is_recorded_under_the_same_id(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.commit_errors.append(LOST)
    repository.record([Event(Action.CONNECT)])
    told = [
        (sql, given[1]) for sql, given in driver.executed if sql.startswith("INSERT INTO audit")
    ]
    assert len(told) == 2
    assert told[0] == told[1]
    assert told[0][0].endswith("ON DUPLICATE KEY UPDATE id = id")


@pytest.mark.parametrize("errno", [1205, 1213, 1317])
def test_a_conflict_repeats_the_whole_transaction(
    repository: MySQLRepository, driver: Driver, errno: int
) -> None:
    owner = client()
    driver.answers[LOCK] = [(owner.id,)]
    driver.fail("INSERT INTO files", InternalError(errno=errno, msg="conflict"))
    repository.publish_file(stored_file(owner))
    assert [sql.startswith(LOCK) for sql, _ in driver.executed if "FROM clients" in sql] == [
        True,
        True,
    ]


def test_a_conflict_at_commit_is_repeated(repository: MySQLRepository, driver: Driver) -> None:
    driver.commit_errors.append(DEADLOCK)
    repository.add_client(client())
    assert driver.connections[0].commit.call_count == 2


def test_conflicts_without_end_are_given_up_at_the_bound(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.fail("INSERT INTO clients", *[DEADLOCK] * 100)
    with pytest.raises(RepositoryError, match="Deadlock"):
        repository.add_client(client())
    assert len(driver.errors["INSERT INTO clients"]) == 100 - 1 - QUICK.conflicts


@pytest.mark.parametrize(
    "error",
    [
        *(OperationalError(errno=errno, msg="x") for errno in (1053, 1927, 2006, 2013, 2055, 4031)),
        OperationalError("MySQL Connection not available"),
        ReadTimeoutError(errno=3024),
        IndexError("bytearray index out of range"),
        ConnectionResetError("reset"),
    ],
    ids=repr,
)
def test_a_lost_connection_repeats_the_transaction_on_another(
    repository: MySQLRepository, driver: Driver, error: Exception
) -> None:
    driver.fail("SELECT id, name", error)
    repository.find_client(b"x")
    assert len(driver.connections) == 2


def test_a_lost_connection_is_closed_without_asking_the_server(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.fail("SELECT id, name", ReadTimeoutError(errno=3024))
    repository.find_client(b"x")
    lost = driver.connections[0]
    assert [
        call[0] for call in lost.method_calls if call[0] in {"rollback", "shutdown", "close"}
    ] == [
        "shutdown",
        "close",
    ]


def test_a_connection_whose_rollback_fails_is_not_used_again(
    repository: MySQLRepository, driver: Driver
) -> None:
    repository.find_client(b"x")
    driver.connections[0].rollback.side_effect = LOST
    driver.fail("SELECT id, name", DEADLOCK)
    repository.find_client(b"x")
    assert len(driver.connections) == 2


def test_one_lost_connection_drops_the_idle_ones(
    repository: MySQLRepository, driver: Driver
) -> None:
    pool = repository._pool
    with pool.session(), pool.session():
        pass
    driver.fail("SELECT id, name", LOST)
    repository.find_client(b"x")
    assert [each.close.called for each in driver.connections] == [True, True, False]


def test_a_registration_whose_commit_was_lost_but_done_succeeds(
    repository: MySQLRepository, driver: Driver
) -> None:
    newcomer = client()

    def commit_then_lose() -> None:
        driver.fail("INSERT INTO clients", DUPLICATE)
        driver.answers["SELECT id FROM clients WHERE (id"] = [(newcomer.id,)]
        raise LOST

    repository.find_client(b"x")
    driver.connections[0].commit.side_effect = commit_then_lose
    repository.add_client(newcomer)
    assert len(driver.connections) == 2


def test_a_server_that_comes_back_in_time_is_waited_for(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.refusals.extend(InterfaceError(errno=2003, msg="refused") for _ in range(20))
    assert repository.find_client(b"x") is None


def test_a_server_that_stays_away_is_unavailable(driver: Driver) -> None:
    driver.refusals.extend(InterfaceError(errno=2003, msg="refused") for _ in range(20))
    with pytest.raises(RepositoryUnavailable):
        MySQLRepository(ADDRESS, patience=replace(QUICK, outage_seconds=0.0))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ProgrammingError(errno=1045, msg="Access denied"), RepositoryUnavailable),
        (ProgrammingError(errno=1049, msg="Unknown database"), RepositoryUnavailable),
        (InterfaceError("Invalid CA Certificate"), RepositoryUnavailable),
        (ProgrammingError(errno=1142, msg="INSERT command denied"), RepositoryError),
        (DatabaseError(errno=1406, msg="Data too long"), RepositoryError),
    ],
    ids=repr,
)
def test_an_error_that_repeating_does_not_mend_is_told_at_once(
    repository: MySQLRepository, driver: Driver, error: Exception, expected: type[Exception]
) -> None:
    driver.fail("SELECT id, name", error)
    with pytest.raises(RepositoryError) as told:
        repository.find_client(b"x")
    assert type(told.value) is expected


@pytest.mark.parametrize(
    "error",
    [
        TypeError("not all arguments converted"),
        AttributeError("no such attribute"),
        KeyError("name"),
        MemoryError(),
        ValueError("embedded null byte"),
        OverflowError("int too big to convert"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ProgrammingError("Failed processing format-parameters; no such type"),
        ProgrammingError("Not enough parameters for the SQL statement"),
    ],
    ids=repr,
)
def test_what_is_wrong_with_a_call_is_no_lost_connection_and_not_repeated(
    repository: MySQLRepository, driver: Driver, error: Exception
) -> None:
    driver.fail("SELECT id, name", error)
    with pytest.raises(RepositoryError) as told:
        repository.find_client(b"x")
    assert type(told.value) is RepositoryError
    assert len(str(told.value).splitlines()) == 1
    assert len([sql for sql, _ in driver.executed if sql.startswith("SELECT id, name")]) == 1
    assert len(driver.connections) == 1


@pytest.mark.parametrize(
    "error", [KeyError("name"), ValueError("x"), InterfaceError("Expected OK packet")], ids=repr
)
def test_a_connection_on_which_an_answer_may_be_on_its_way_is_not_used_again(
    repository: MySQLRepository, driver: Driver, error: Exception
) -> None:
    driver.fail("SELECT id, name", error)
    with pytest.raises(RepositoryError):
        repository.find_client(b"x")
    (out_of_step,) = driver.connections
    assert out_of_step.shutdown.called
    assert not out_of_step.rollback.called
    repository.find_client(b"x")
    assert len(driver.connections) == 2


def test_an_error_is_one_line_with_database_and_cause_and_without_password(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.fail("SELECT id, name", DatabaseError(errno=1406, msg="Data\n  too long"))
    with pytest.raises(RepositoryError) as told:
        repository.find_client(b"x")
    assert str(told.value) == "database eft on localhost:3306: Data too long (1406)"


@pytest.mark.usefixtures("driver")
def test_no_free_connection_within_the_wait_is_unavailable() -> None:
    with closing(MySQLRepository(ADDRESS, connections=1, wait_seconds=0.0)) as repository:
        with (
            repository._pool.session(),
            pytest.raises(RepositoryUnavailable, match="all 1 connections were busy"),
        ):
            repository.find_client(b"x")
        assert repository.find_client(b"x") is None


@pytest.mark.usefixtures("driver")
def test_a_connection_is_waited_for() -> None:
    with closing(MySQLRepository(ADDRESS, connections=1)) as repository:
        lent = threading.Event()
        answered = threading.Event()

        def ask() -> None:
            lent.set()
            repository.find_client(b"x")
            answered.set()

        with repository._pool.session():
            asking = threading.Thread(target=ask)
            asking.start()
            lent.wait()
            assert not answered.is_set()
        asking.join()
        assert answered.is_set()


@pytest.mark.parametrize("size", [0, 33])
def test_a_pool_holds_1_to_32_connections(size: int) -> None:
    with pytest.raises(ValueError, match="1 to 32"):
        MySQLRepository(ADDRESS, connections=size)


def test_closing_closes_idle_connections_and_later_those_in_use(
    repository: MySQLRepository, driver: Driver
) -> None:
    with repository._pool.session():
        with repository._pool.session():
            pass
        repository.close()
        in_use, idle = driver.connections
        assert [in_use.close.called, idle.close.called] == [False, True]
    assert in_use.close.called


def test_an_unencrypted_session_off_this_machine_is_refused(driver: Driver) -> None:
    with pytest.raises(RepositoryUnavailable, match="does not offer TLS"):
        MySQLRepository(replace(ADDRESS, host="db.example"))
    assert driver.executed == []
    assert driver.connections[0].close.called


def test_an_encrypted_session_off_this_machine_is_accepted(driver: Driver) -> None:
    driver.secure = True
    MySQLRepository(replace(ADDRESS, host="db.example")).close()


def test_a_certificate_authority_turns_verification_on(driver: Driver) -> None:
    MySQLRepository(replace(ADDRESS, ssl_ca="/ca.pem")).close()
    wanted = {"ssl_ca": "/ca.pem", "ssl_verify_cert": True, "ssl_verify_identity": True}
    assert wanted.items() <= driver.arguments[0].items()


def test_connections_are_pure_binary_safe_bounded_in_time_and_single_statement(
    driver: Driver,
) -> None:
    MySQLRepository(ADDRESS).close()
    given = driver.arguments[0]
    assert given["use_pure"] is True
    assert (given["charset"], given["collation"]) == ("utf8mb4", "utf8mb4_bin")
    assert given["autocommit"] is False
    assert min(given[f"{each}_timeout"] for each in ("connection", "read", "write")) > 0
    assert -ClientFlag.MULTI_STATEMENTS in given["client_flags"]


def test_sessions_read_what_is_committed(repository: MySQLRepository, driver: Driver) -> None:
    repository.find_client(b"x")
    assert driver.executed[0][0] == "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"


def test_a_migration_lock_that_stays_taken_is_unavailable(driver: Driver) -> None:
    driver.answers["SELECT GET_LOCK"] = [(0,)]
    with pytest.raises(RepositoryUnavailable, match="another server has been migrating"):
        MySQLRepository(ADDRESS)


def test_pauses_grow_to_their_bound_and_differ() -> None:
    patience = Patience(first_pause=0.1, longest_pause=0.4)
    for repetition, most in enumerate((0.1, 0.2, 0.4, 0.4)):
        pauses = [patience.pause(repetition) for _ in range(50)]
        assert len(set(pauses)) > 1
        assert all(most / 2 <= pause <= most for pause in pauses)


def test_an_interrupt_in_the_middle_ends_the_connection(
    repository: MySQLRepository, driver: Driver
) -> None:
    interrupted = Mock(side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        repository._write(interrupted)
    assert driver.connections[0].shutdown.called


def test_a_database_that_loses_commits_with_the_power_is_complained_about(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    driver.answers["SELECT @@innodb_flush_log_at_trx_commit"] = [(2,)]
    MySQLRepository(ADDRESS).close()
    assert "innodb_flush_log_at_trx_commit" in caplog.text


def test_the_connection_of_the_lock_is_used_for_nothing_else(
    repository: MySQLRepository, driver: Driver
) -> None:
    driver.answers["SELECT IF(@@lower_case_table_names"] = [("eft",)]
    driver.answers["SELECT IS_USED_LOCK"] = [(None,)]
    repository.hold()
    (holding,) = driver.connections
    repository.find_client(b"x")
    assert len(driver.connections) == 2
    repository.close()
    assert holding.close.called
