"""A database and a data directory that belong together are not mixed up with others."""

import re
import stat
from contextlib import closing
from pathlib import Path

import pytest

from server import backup, checking, restore
from server.errors import ConfigurationError, ServerError
from server.pairing import ID_FILE, check_pair, pair
from server.repository import DatabaseInUse, Repository, open_repository
from server.serving import listening
from server.storage import DirectoryStorage
from tests.mariadb import MariaDB
from tests.server.commands import run
from tests.server.hostile_surroundings import serves_honest
from tests.server.running import running, settings_for_tests

ANOTHER = "the database belongs to another data directory than "


def used(data: Path, database_url: str) -> Path:
    """A data directory of a server that has a file, and has stopped."""
    with running(data, database=database_url) as server:
        serves_honest(server)
    return data


def pair_at(repository: Repository, data: Path) -> None:
    pair(repository, data, DirectoryStorage.looking_at(data))


def everything_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def refuses(data: Path, database_url: str) -> str:
    """Why a server does not start with these."""
    with (
        pytest.raises(ConfigurationError, match=re.escape(ANOTHER)) as refused,
        listening(settings_for_tests(data, database=database_url)),
    ):
        pass
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_a_server_starts_again_with_its_own(tmp_path: Path, database_url: str) -> None:
    data = used(tmp_path / "data", database_url)
    before = (data / ID_FILE).read_text("ascii").split()[0]
    with running(data, database=database_url) as server:
        assert server.stored()
    assert (data / ID_FILE).read_text("ascii").split()[0] == before
    assert stat.S_IMODE((data / ID_FILE).stat().st_mode) == 0o600


def test_another_data_directory_is_refused(tmp_path: Path, database_url: str) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    with running(data, database=database_url) as server:
        serves_honest(server)
        with (
            pytest.raises(DatabaseInUse, match="give each a --data and a --database of its own"),
            listening(settings_for_tests(other, database=database_url)),
        ):
            pass
        serves_honest(server, "another")
    before = everything_in(data)
    refuses(other, database_url)
    assert everything_in(data) == before
    with running(data, database=database_url) as server:
        assert server.stored()


def test_a_data_directory_that_has_another_database_is_refused_and_keeps_its_objects(
    tmp_path: Path, database_url: str
) -> None:
    used(tmp_path / "data", database_url)
    other = used(tmp_path / "other", f"sqlite:///{tmp_path / 'other.sqlite3'}")
    before = everything_in(other)
    refuses(other, database_url)
    assert everything_in(other) == before


def test_what_an_older_version_left_is_paired_at_the_next_start(
    tmp_path: Path, database_url: str
) -> None:
    data = used(tmp_path / "data", database_url)
    belongs_to_nobody(data, database_url)
    with running(data, database=database_url) as server:
        assert server.stored()
    refuses(tmp_path / "other", database_url)


def test_a_start_that_broke_off_before_the_database_knew_is_gone_on_with(
    tmp_path: Path, database_url: str
) -> None:
    (tmp_path / ID_FILE).write_text(f"{bytes(16).hex()}\n")
    with closing(open_repository(database_url)) as repository:
        pair_at(repository, tmp_path)
        assert repository.pairing() == (bytes(16), 0)


def test_a_database_that_was_used_by_mistake_can_be_given_back_as_the_error_says(
    tmp_path: Path, database_url: str
) -> None:
    data = used(tmp_path / "data", database_url)
    (data / ID_FILE).unlink()
    told = refuses(data, database_url)
    found = re.search(r"write ([0-9a-f]{32}) to (.*)$", told)
    assert found is not None
    Path(found[2]).write_text(found[1])
    with running(data, database=database_url) as server:
        assert server.stored()


@pytest.mark.parametrize("text", ["", "id", "0" * 31, "0" * 33, "g" * 32, "\N{DIGIT ZERO}é" * 16])
def test_a_damaged_id_is_told(tmp_path: Path, database_url: str, text: str) -> None:
    (tmp_path / ID_FILE).write_text(text, "utf-8")
    with (
        closing(open_repository(database_url)) as repository,
        pytest.raises(ConfigurationError, match=rf"{ID_FILE} is damaged: restore it"),
    ):
        pair_at(repository, tmp_path)


def test_an_id_that_cannot_be_read_is_told(tmp_path: Path, database_url: str) -> None:
    (tmp_path / ID_FILE).mkdir()
    with (
        closing(open_repository(database_url)) as repository,
        pytest.raises(ConfigurationError, match=rf"{ID_FILE}: Is a directory"),
    ):
        pair_at(repository, tmp_path)


def test_an_id_that_cannot_be_written_leaves_the_database_to_nobody(
    tmp_path: Path, database_url: str
) -> None:
    with closing(open_repository(database_url)) as repository:
        (tmp_path / f"{ID_FILE}.new").mkdir()
        with pytest.raises(ConfigurationError, match=rf"{ID_FILE}: Is a directory"):
            pair_at(repository, tmp_path)
        assert repository.pairing() is None
        check_pair(repository, tmp_path)
        assert not (tmp_path / ID_FILE).exists()


# Commands


def test_check_and_backup_refuse_another_data_directory(tmp_path: Path, mariadb: MariaDB) -> None:
    url = mariadb.url(mariadb.new_database())
    used(tmp_path / "data", url)
    used(tmp_path / "other", f"sqlite:///{tmp_path / 'other.sqlite3'}")
    before = everything_in(tmp_path / "other")
    for arguments, status in ((["check"], 2), (["check", "--repair"], 2), (["backup", "copy"], 1)):
        done = run(tmp_path, "--data", "other", "--database", url, *arguments)
        assert (done.returncode, done.stdout) == (status, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {ANOTHER}other: ")
    assert everything_in(tmp_path / "other") == before
    assert run(tmp_path, "--data", "data", "--database", url, "check").returncode == 0


def test_a_second_server_says_in_one_line_what_is_wrong(tmp_path: Path, mariadb: MariaDB) -> None:
    url = mariadb.url(mariadb.new_database())
    used(tmp_path / "data", url)
    done = run(tmp_path, "--data", "other", "--database", url, "--port", "0")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {ANOTHER}other: give that one as --data, or another --database")


# Backups


@pytest.fixture(params=["to sqlite", "to mariadb"])
def another_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of one more empty database, of each kind."""
    if request.param == "to sqlite":
        return f"sqlite:///{tmp_path / 'another.sqlite3'}"
    server: MariaDB = request.getfixturevalue("mariadb")
    return server.url(server.new_database())


def backed_up(data: Path, target: Path, database_url: str) -> Path:
    failures: list[ServerError] = []
    config = settings_for_tests(data, database=database_url)
    assert backup.run(config, lambda _: None, failures.append, target, copy=True) == 0
    return target


def restored(source: Path, data: Path, database_url: str) -> Path:
    failures: list[ServerError] = []
    config = settings_for_tests(data, database=database_url)
    assert restore.run(config, lambda _: None, failures.append, source) == 0
    return data


def check(data: Path, database_url: str) -> int:
    """The exit status of `check --deep`."""
    config = settings_for_tests(data, database=database_url)
    return checking.run(config, lambda _: None, deep=True, mend=False, as_json=False)


def id_in(directory: Path) -> str:
    path = directory / ID_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path.read_text("ascii")


def belongs_to_nobody(data: Path, database_url: str) -> None:
    """What a version left that knew no ids."""
    with closing(open_repository(database_url)) as repository:
        repository._write(lambda t: t.change("DELETE FROM data_directory"))  # type: ignore[attr-defined]
    (data / ID_FILE).unlink()


def test_a_backup_is_itself_a_pair(tmp_path: Path, database_url: str) -> None:
    data = used(tmp_path / "data", database_url)
    target = backed_up(data, tmp_path / "backup", database_url)
    assert id_in(target) == id_in(data)
    own = f"sqlite:///{target / 'eft.sqlite3'}"
    assert check(target, own) == 0
    with running(target, database=own) as server:
        assert server.stored()


def test_a_restored_pair_belongs_together_and_to_no_other(
    tmp_path: Path, database_url: str, another_url: str
) -> None:
    data = used(tmp_path / "data", database_url)
    source = backed_up(data, tmp_path / "backup", database_url)
    copy = restored(source, tmp_path / "elsewhere", another_url)
    assert id_in(copy) == id_in(data)
    with running(copy, database=another_url) as server:
        assert server.stored()
        serves_honest(server, "another")
    assert check(copy, another_url) == 0
    backed_up(copy, tmp_path / "its own backup", another_url)
    refuses(tmp_path / "other", another_url)


def test_a_restored_copy_gets_along_with_the_server_that_it_was_made_of(
    tmp_path: Path, database_url: str, another_url: str
) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with running(data, database=database_url) as first:
        serves_honest(first)
        before = first.stored()
        source = backed_up(data, tmp_path / "backup", database_url)
        restored(source, copy, another_url)
        with running(copy, database=another_url) as second:
            assert second.stored() == before
            serves_honest(second, "of the second")
            serves_honest(first, "of the first")
            assert first.stored().keys() - before.keys() == {("of the first", "honest.bin")}
            assert second.stored().keys() - before.keys() == {("of the second", "honest.bin")}
            backed_up(data, source, database_url)
    for directory, url in ((data, database_url), (copy, another_url)):
        assert not (directory / "orphans").exists()
        assert check(directory, url) == 0


def test_a_backup_without_an_id_is_restored_to_a_database_that_another_server_was_started_on(
    tmp_path: Path, database_url: str, another_url: str
) -> None:
    with running(tmp_path / "never used", database=another_url):
        pass
    data = used(tmp_path / "data", database_url)
    belongs_to_nobody(data, database_url)
    source = backed_up(data, tmp_path / "backup", database_url)
    assert not (source / ID_FILE).exists()
    copy = restored(source, tmp_path / "copy", another_url)
    assert not (copy / ID_FILE).exists()
    with running(copy, database=another_url) as server:
        assert server.stored()
    assert id_in(copy)
    refuses(tmp_path / "never used", another_url)


@pytest.mark.parametrize("text", [None, "damaged"])
def test_an_id_that_the_backup_has_lost_is_restored_from_its_rows(
    tmp_path: Path, database_url: str, text: str | None
) -> None:
    data = used(tmp_path / "data", f"sqlite:///{tmp_path / 'rows'}")
    source = backed_up(data, tmp_path / "backup", f"sqlite:///{tmp_path / 'rows'}")
    (source / ID_FILE).unlink()
    if text is not None:
        (source / ID_FILE).write_text(text)
    copy = restored(source, tmp_path / "copy", database_url)
    assert id_in(copy) == id_in(data)
    with running(copy, database=database_url) as server:
        assert server.stored()


def test_files_are_not_set_aside_because_the_database_named_is_a_new_one(
    tmp_path: Path, database_url: str, another_url: str
) -> None:
    data = used(tmp_path / "data", database_url)
    before = everything_in(data) - {"eft.sqlite3-shm", "eft.sqlite3-wal"}

    with (
        pytest.raises(ConfigurationError, match=r"the database is empty and .* holds files"),
        listening(settings_for_tests(data, database=another_url)),
    ):
        pass

    assert everything_in(data) - {"eft.sqlite3-shm", "eft.sqlite3-wal"} == before
    with running(data, database=database_url) as server:
        assert server.stored()


@pytest.mark.parametrize("left", [f"{'ab' * 16}/notes.txt", f"{'ab' * 16}"])
def test_what_is_no_object_does_not_keep_a_new_database_out(
    tmp_path: Path, database_url: str, left: str
) -> None:
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).touch()
    with closing(open_repository(database_url)) as repository:
        pair_at(repository, tmp_path)
        assert repository.pairing() is not None
