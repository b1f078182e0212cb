"""A database belongs to one data directory, the first that claims it."""

import os
from concurrent.futures import ThreadPoolExecutor

from server.repository import Client, Repository
from server.repository.statements import SqlRepository
from tests.server.repository.conftest import Open

FIRST, SECOND = bytes(range(16)), bytes(range(16, 32))


def test_a_new_database_belongs_to_nobody(repository: Repository) -> None:
    assert repository.pairing() is None


def test_the_first_claim_stands(repository: Repository, open_another: Open) -> None:
    assert repository.claim(FIRST) == FIRST
    assert repository.claim(FIRST) == FIRST
    assert repository.claim(SECOND) == FIRST
    assert open_another().claim(SECOND) == FIRST
    assert open_another().pairing() == (FIRST, 0)


def test_of_claims_at_once_one_stands(open_another: Open) -> None:
    repositories = [open_another() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        told = set(threads.map(lambda one: one.claim(os.urandom(16)), repositories))
    assert {(each, 0) for each in told} == {repositories[0].pairing()}


def test_a_database_of_the_version_before_belongs_to_nobody_yet(
    repository: Repository, alice: Client, open_another: Open
) -> None:
    assert isinstance(repository, SqlRepository)
    repository._write(lambda transaction: transaction.change("DROP TABLE data_directory"))
    repository._write(
        lambda transaction: transaction.change("DELETE FROM schema_version WHERE version > 3")
    )
    migrated = open_another()
    assert migrated.pairing() is None
    assert migrated.claim(FIRST) == FIRST
    assert migrated.find_client(alice.id) == alice
