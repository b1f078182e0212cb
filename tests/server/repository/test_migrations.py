"""The schema on both databases: made once, mended after a crash, never taken backwards."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from server.repository import (
    Client,
    Repository,
    RepositoryError,
    SchemaTooNew,
    SchemaTooOld,
    open_repository,
)
from server.repository.migrations import MIGRATIONS, NEWEST_VERSION
from server.repository.statements import SqlRepository
from tests.server.repository.conftest import Open
from tests.server.repository.samples import stored_file


def _change(repository: Repository, sql: str, *parameters: bytes | str | int) -> None:
    assert isinstance(repository, SqlRepository)
    repository._write(lambda transaction: transaction.change(sql, *parameters))


def _rows(repository: Repository, sql: str) -> list[tuple[object, ...]]:
    assert isinstance(repository, SqlRepository)
    return repository._read(lambda transaction: transaction.rows(sql))


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [each.version for each in MIGRATIONS] == list(range(1, NEWEST_VERSION + 1))


def test_a_new_database_has_the_newest_version(repository: Repository) -> None:
    versions = _rows(repository, "SELECT version FROM schema_version ORDER BY version")
    assert versions == [(each.version,) for each in MIGRATIONS]


def test_opening_a_database_again_keeps_what_it_holds(alice: Client, open_another: Open) -> None:
    assert open_another().find_client(alice.id) == alice


def test_a_newer_schema_is_refused_with_both_versions(
    repository: Repository, open_another: Open
) -> None:
    _change(repository, "INSERT INTO schema_version (version) VALUES (?)", 99)
    with pytest.raises(SchemaTooNew, match=rf"version 99 .* up to {NEWEST_VERSION}:"):
        open_another()


def test_a_newer_schema_is_refused_every_time(repository: Repository, open_another: Open) -> None:
    _change(repository, "INSERT INTO schema_version (version) VALUES (?)", 99)
    for _ in range(2):
        with pytest.raises(SchemaTooNew):
            open_another()


def test_an_older_schema_stays_as_it_is_without_leave_to_upgrade(
    repository: Repository, alice: Client, database_url: str
) -> None:
    _change(repository, "DELETE FROM schema_version WHERE version = ?", NEWEST_VERSION)
    _change(repository, "DROP TABLE superseded")
    older = rf"version {NEWEST_VERSION - 1}, this program needs {NEWEST_VERSION}$"
    for _ in range(2):
        with pytest.raises(SchemaTooOld, match=older):
            open_repository(database_url, upgrade=False)

    with pytest.raises(RepositoryError):
        repository.superseded()
    assert repository.find_client(alice.id) == alice


def test_the_newest_schema_opens_without_leave_to_upgrade(
    repository: Repository, alice: Client, database_url: str
) -> None:
    with closing(open_repository(database_url, upgrade=False)) as opened:
        assert opened.find_client(alice.id) == alice

    _change(repository, "INSERT INTO schema_version (version) VALUES (?)", 99)
    with pytest.raises(SchemaTooNew):
        open_repository(database_url, upgrade=False)


def test_an_empty_database_stays_empty_without_leave_to_upgrade(database_url: str) -> None:
    for _ in range(2):
        with pytest.raises(SchemaTooOld, match="version 0"):
            open_repository(database_url, upgrade=False)


def test_a_migration_that_broke_off_is_finished_by_the_next_start(
    repository: Repository, alice: Client, open_another: Open
) -> None:
    _change(repository, "DROP TABLE superseded")
    _change(repository, "DELETE FROM schema_version")
    mended = open_another()
    assert mended.superseded() == []
    assert mended.find_client(alice.id) == alice


def test_threads_that_open_a_new_database_at_once_all_succeed(database_url: str) -> None:
    with ThreadPoolExecutor(6) as threads:
        for repository in list(threads.map(open_repository, [database_url] * 6)):
            repository.close()


def test_processes_that_open_a_new_database_at_once_all_succeed(database_url: str) -> None:
    program = "import sys; from server.repository import *; open_repository(sys.argv[1]).close()"
    processes = [subprocess.Popen([sys.executable, "-c", program, database_url]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]


def test_the_path_name_of_a_file_is_its_client_and_its_upload(
    repository: Repository, alice: Client
) -> None:
    file = stored_file(alice)
    repository.publish_file(file)
    assert _rows(repository, "SELECT path_name, verified FROM files") == [
        (f"{alice.id.hex()}/{file.object_id.hex()}", 1)
    ]


def test_a_row_that_is_not_verified_is_not_read(repository: Repository, alice: Client) -> None:
    file = stored_file(alice)
    repository.publish_file(file)
    _change(repository, "UPDATE files SET verified = 0")
    assert repository.find_file(alice.id, file.name) is None
    assert list(repository.files(alice.id)) == []
    assert repository.usage(alice.id).files == 0


def test_a_row_that_is_not_verified_is_replaced_and_its_upload_superseded(
    repository: Repository, alice: Client
) -> None:
    older, newer = stored_file(alice), stored_file(alice)
    repository.publish_file(older)
    _change(repository, "UPDATE files SET verified = 0")
    repository.publish_file(newer)
    assert repository.find_file(alice.id, newer.name) == newer
    assert repository.superseded() == [(alice.id, older.object_id)]


def test_a_client_with_files_cannot_be_deleted_under_them(
    repository: Repository, alice: Client
) -> None:
    repository.publish_file(stored_file(alice))
    with pytest.raises(RepositoryError):
        _change(repository, "DELETE FROM clients WHERE id = ?", alice.id)
