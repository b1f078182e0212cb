"""From version 1 to 2 with clients and files in it, whatever interrupts the way."""

import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace

import pytest
from mysql.connector import ProgrammingError

from protocol.messages4 import Policy
from server.repository import (
    Client,
    Repository,
    RepositoryError,
    StoredFile,
    migrations,
    open_repository,
)
from server.repository.mysql_connections import Session
from server.repository.sqlite import _SqliteTransaction
from server.repository.statements import SqlRepository
from server.repository.transactions import Parameter, Transaction
from tests.mariadb import MariaDB
from tests.server.repository.conftest import Open
from tests.server.repository.samples import client, content4, publication, sign, stored_file

INSERT_CLIENT = (
    "INSERT INTO clients (id, name, registered_at, last_seen, public_key, aes_key) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
INSERT_FILE = (
    "INSERT INTO files (path_name, verified, size, cksum, received_at, upload_id, client_id, "
    "file_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
INSERT_SUPERSEDED = "INSERT INTO superseded (upload_id, client_id) VALUES (?, ?)"

MOST_STATEMENTS = len(migrations.MIGRATIONS[1].statements) + 2  # and the two about the version


def _file_row(file: StoredFile) -> tuple[bytes | str | int | None, ...]:
    return (
        f"{file.client_id.hex()}/{file.object_id.hex()}",
        1,
        file.size,
        file.cksum,
        file.received_at,
        file.object_id,
        file.client_id,
        file.name.encode("utf-8", "surrogateescape"),
    )


@dataclass
class Old:
    """A database as a server of version 1 left it."""

    url: str
    clients: list[Client]
    files: list[StoredFile]
    superseded: tuple[bytes, bytes]

    def check(self, repository: Repository) -> None:
        assert list(repository.clients()) == self.clients
        found = [file for each in self.clients for file in repository.files(each.id)]
        assert found == self.files
        assert repository.superseded() == [self.superseded]
        assert list(repository.pending_uploads()) == []
        assert repository.tokens() == []


@pytest.fixture
def old(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Old:
    alice = client("Alice", public_key=b"\0key", wrapped_aes_key=b"aes")
    bob = client("Bob\udce9")
    files = [
        stored_file(alice, "a" * 255, size=2**63 - 1, cksum=2**32 - 1),
        stored_file(alice, "caf\udce9 \\ ' %s ? \n", size=0, cksum=0),
        stored_file(bob),
    ]
    made = Old(database_url, [alice, bob], files, (alice.id, os.urandom(16)))

    def fill(transaction: Transaction) -> None:
        for each in made.clients:
            transaction.change(
                INSERT_CLIENT,
                each.id,
                each.name.encode("utf-8", "surrogateescape"),
                each.registered_at,
                each.last_seen,
                each.public_key,
                each.wrapped_aes_key,
            )
        for file in files:
            transaction.change(INSERT_FILE, *_file_row(file))
        transaction.change(INSERT_SUPERSEDED, *reversed(made.superseded))

    with monkeypatch.context() as version_1:
        version_1.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        version_1.setattr(migrations, "NEWEST_VERSION", 1)
        with closing(open_repository(database_url)) as repository:
            assert isinstance(repository, SqlRepository)
            repository._write(fill)
    return made


class Crash(Exception):
    """The server ends here."""


def _crash_after(monkeypatch: pytest.MonkeyPatch, statements: int) -> None:
    """Lets a migration run so many statements, and no more."""
    left = statements

    def ending(change: Callable[..., int]) -> Callable[..., int]:
        def end_or_change(transaction: Transaction, sql: str, *parameters: Parameter) -> int:
            nonlocal left
            if not sql.startswith("SET SESSION"):
                if left == 0:
                    raise Crash
                left -= 1
            return change(transaction, sql, *parameters)

        return end_or_change

    for kind in (Session, _SqliteTransaction):
        monkeypatch.setattr(kind, "change", ending(kind.change))


def test_everything_is_kept(old: Old, open_another: Open) -> None:
    old.check(open_another())


@pytest.mark.parametrize("statements", range(MOST_STATEMENTS))
def test_everything_is_kept_when_the_migration_ends_after_any_statement(
    old: Old, open_another: Open, monkeypatch: pytest.MonkeyPatch, statements: int
) -> None:
    with monkeypatch.context() as crashing:
        _crash_after(crashing, statements)
        with pytest.raises(Crash):
            open_repository(old.url)
    old.check(open_another())


def test_everything_is_kept_when_the_migration_ends_after_one_statement_more_each_time(
    old: Old, open_another: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statements in range(MOST_STATEMENTS):
        with monkeypatch.context() as crashing, suppress(Crash):
            _crash_after(crashing, statements)
            open_repository(old.url).close()
    old.check(open_another())


def test_an_old_file_is_replaced_and_its_object_superseded(old: Old, open_another: Open) -> None:
    repository = open_another()
    older = old.files[2]
    newer = replace(stored_file(old.clients[1]), name=older.name)
    assert repository.publish_file(newer) == older.object_id
    assert list(repository.files(older.client_id)) == [newer]


def test_an_old_file_of_a_newer_time_is_protected(old: Old, open_another: Open) -> None:
    repository = open_another()
    received = old.files[2].received_at * 10**9
    rival = content4(old.clients[1], modified=received)
    (told,) = repository.publish([publication(rival, Policy.IF_OLDER)], sign)
    assert told.refused


def test_names_of_1024_bytes_are_accepted_afterwards(old: Old, open_another: Open) -> None:
    repository = open_another()
    long = stored_file(old.clients[0], "n" * 1024)
    repository.publish_file(long)
    assert repository.find_file(long.client_id, long.name) == long


def test_keys_and_references_are_checked_afterwards(old: Old, open_another: Open) -> None:
    repository = open_another()
    with pytest.raises(RepositoryError):
        repository.publish_file(replace(old.files[0], name="second"))
    assert isinstance(repository, SqlRepository)
    with pytest.raises(RepositoryError):
        repository._write(
            lambda each: each.change("DELETE FROM clients WHERE id = ?", old.clients[0].id)
        )


@pytest.mark.usefixtures("old")
def test_nothing_of_the_old_table_is_left(open_another: Open) -> None:
    repository = open_another()
    assert isinstance(repository, SqlRepository)
    exists = repository.dialect.table_exists
    assert repository._read(lambda each: each.rows(exists, "files_1")) == [(0,)]


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_a_file_that_an_older_server_publishes_at_any_moment_is_kept(
    old: Old, open_another: Open, mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = old.url.split("?")[0].rpartition("/")[2]
    owner = old.clients[0]
    published: list[StoredFile] = []
    refused: list[StoredFile] = []
    change = Session.change

    def publish_and_change(session: Session, sql: str, *parameters: Parameter) -> int:
        file = stored_file(owner, f"{len(published) + len(refused):02}")
        with mariadb.connect(database=database, autocommit=True) as older:
            try:
                older.cursor().execute(INSERT_FILE.replace("?", "%s"), _file_row(file))
                published.append(file)
            except ProgrammingError:  # no such table, later no such column
                refused.append(file)
        return change(session, sql, *parameters)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Session, "change", publish_and_change)
        repository = open_another()
    assert published
    assert refused
    found = [repository.find_file(owner.id, file.name) for file in published]
    assert found == published
