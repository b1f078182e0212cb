"""What only the SQLite repository promises: its files, its durability, other processes."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from server.repository import RepositoryError, RepositoryUnavailable, sqlite
from server.repository.sqlite import SqliteRepository
from tests.server.repository.samples import client, stored_file


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "repository.db"


def test_database_and_journal_are_for_their_owner_only(path: Path) -> None:
    previous = os.umask(0)
    try:
        with closing(SqliteRepository(path)):
            modes = {each.name: _mode(each) for each in path.parent.iterdir()}
    finally:
        os.umask(previous)
    assert modes == {"repository.db": 0o600, "repository.db-journal": 0o600}


def test_missing_directories_are_made_for_their_owner_only(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        SqliteRepository(tmp_path / "a" / "b" / "repository.db").close()
    finally:
        os.umask(previous)
    assert [_mode(tmp_path / "a"), _mode(tmp_path / "a" / "b")] == [0o700, 0o700]


def test_new_directories_and_the_new_file_are_synced_into_their_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(
        os, "fsync", lambda number: synced.append(Path(f"/proc/self/fd/{number}").readlink())
    )
    SqliteRepository(tmp_path / "data" / "repository.db").close()
    assert synced == [tmp_path, tmp_path / "data"]


def test_a_directory_that_exists_keeps_its_rights(path: Path) -> None:
    path.parent.chmod(0o750)
    SqliteRepository(path).close()
    assert _mode(path.parent) == 0o750


def test_a_relative_path_begins_at_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    SqliteRepository(Path("data/repository.db")).close()
    assert (tmp_path / "data" / "repository.db").is_file()


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "truncate"), ("synchronous", 2), ("foreign_keys", 1)]
)
def test_the_connection_is_durable_and_checks_references(
    path: Path, pragma: str, value: str | int
) -> None:
    with closing(SqliteRepository(path)) as repository:
        assert repository._read(lambda each: each.rows(f"PRAGMA {pragma}")) == [(value,)]


def test_a_database_left_in_wal_mode_is_taken_back(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE other (id)")
    with closing(SqliteRepository(path)) as repository:
        assert repository._read(lambda each: each.rows("PRAGMA journal_mode")) == [("truncate",)]


def test_a_journal_mode_that_does_not_change_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda _path, **given: open_file(":memory:", **given))
    with pytest.raises(RepositoryUnavailable, match="journal mode stays memory"):
        SqliteRepository(path)


def test_a_database_that_another_process_holds_is_unavailable_in_the_end(path: Path) -> None:
    with (
        closing(SqliteRepository(path, busy_seconds=0.01)) as repository,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RepositoryUnavailable, match=r"repository\.db: database is locked"):
            repository.add_client(client())


def _held(path: Path) -> bool:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


def test_a_writer_holds_the_database_before_its_first_statement(path: Path) -> None:
    with closing(SqliteRepository(path)) as repository:
        assert repository._write(lambda _: _held(path))


def test_a_migration_holds_the_database_before_it_looks_at_the_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    monkeypatch.setattr(sqlite, "migrate", lambda *_: held.append(_held(path)))
    SqliteRepository(path).close()
    assert held == [True]


def test_a_reader_is_not_held_up_by_a_writer_that_has_not_committed(path: Path) -> None:
    with (
        closing(SqliteRepository(path, busy_seconds=0.01)) as repository,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert list(repository.clients()) == []


def test_a_commit_that_a_reader_prevents_leaves_nothing_behind(path: Path) -> None:
    newcomer = client()
    with (
        closing(SqliteRepository(path, busy_seconds=0.01)) as repository,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        other.execute("BEGIN")
        other.execute("SELECT * FROM clients").fetchall()
        with pytest.raises(RepositoryUnavailable):
            repository.add_client(newcomer)
        other.execute("COMMIT")
        assert repository.find_client(newcomer.id) is None
        repository.add_client(newcomer)


def test_processes_that_write_at_once_all_succeed(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from server.repository.sqlite import SqliteRepository\n"
        "from tests.server.repository.samples import client\n"
        "repository = SqliteRepository(Path(sys.argv[1]))\n"
        "for number in range(20): repository.add_client(client(f'{sys.argv[2]} {number}'))\n"
        "repository.close()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, path, str(each)]) for each in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with closing(SqliteRepository(path)) as repository:
        assert len(list(repository.clients())) == 60


def test_an_exception_in_the_middle_leaves_nothing_behind(path: Path) -> None:
    owner = client()
    with closing(SqliteRepository(path)) as repository:
        repository.add_client(owner)
        repository._write(lambda each: each.change("DROP TABLE superseded"))
        with pytest.raises(RepositoryError, match="no such table"):
            repository.publish_file(stored_file(owner))
        assert list(repository.files(owner.id)) == []


def test_an_error_names_the_file_in_one_line(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(RepositoryUnavailable) as refused:
        SqliteRepository(path)
    assert str(refused.value) == f"database {path}: file is not a database"


def test_a_path_through_a_file_is_unavailable(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(RepositoryUnavailable, match="Not a directory"):
        SqliteRepository(path / "below.db")


def test_a_path_of_a_directory_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(RepositoryUnavailable):
        SqliteRepository(tmp_path)
