"""`restore`: all of a backup, verified, where nothing was before; broken off, it goes on."""

import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from server import backup, checking, restore
from server.config import Config
from server.errors import ConfigurationError, StorageError
from server.repository import (
    Action,
    Event,
    RepositoryError,
    RepositoryUnavailable,
    open_repository,
)
from server.repository.copying import CopyStatements
from server.repository.mysql import MySQLRepository, Patience
from server.repository.statements import SqlRepository
from server.storage import RESTORE_MARK, DirectoryStorage
from tests.mariadb import MariaDB
from tests.peer4.client import Peer4
from tests.server import commands
from tests.server.on_disk import ALICE, Crash, OnDisk, disk_full, watch
from tests.server.running import running, settings_for_tests
from tests.server.writing import Writer

BOB = b"\xbb" * 16


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[OnDisk]:
    """A server's data with three files of two clients."""
    with OnDisk(tmp_path / "data") as server:
        server.register()
        server.register(BOB, "Bob")
        server.keep("one", b"1")
        server.keep("two", b"22")
        server.keep("three", b"333", BOB)
        (server.config.data / "server.key").write_bytes(b"secret")
        yield server


@pytest.fixture
def backup_of(kept: OnDisk, tmp_path: Path) -> Path:
    """A backup of it."""
    target = tmp_path / "backup"
    assert backup.run(kept.config, print, print, target, copy=True) == 0
    return target


@pytest.fixture
def to(tmp_path: Path, database_url: str) -> Config:
    """A data directory that is not there yet, and an empty database of each kind."""
    return settings_for_tests(tmp_path / "restored", database=database_url)


def restored(to: Config, source: Path) -> str:
    """Restores without anything to complain of; what is said of it."""
    lines: list[str] = []
    failures: list[StorageError] = []
    assert restore.run(to, lines.append, failures.append, source) == 0
    assert failures == []
    (line,) = lines
    return line


def contents(of: Config) -> dict[tuple[str, str], bytes]:
    """Every file of a data directory, by the names of client and file."""
    storage = DirectoryStorage.looking_at(of.data)
    with closing(open_repository(of.database_url, create=False)) as repository:
        return {
            (client.name, file.name): storage.path(client.id, file.object_id).read_bytes()
            for client in repository.clients()
            for file in repository.files(client.id)
        }


ALL = {("Alice", "one"): b"1", ("Alice", "two"): b"22", ("Bob", "three"): b"333"}


def check(of: Config) -> int:
    """The exit status of `check --deep`."""
    return checking.run(of, lambda _: None, deep=True, mend=False, as_json=False)


def test_a_restored_server_has_every_file_and_key(to: Config, backup_of: Path) -> None:
    line = restored(to, backup_of)
    assert line.startswith("3 files, 6 bytes restored from ")
    assert contents(to) == ALL
    assert (to.data / "server.key").read_bytes() == b"secret"
    assert check(to) == 0


def test_the_trail_tells_of_the_restore_and_of_what_was_before(
    to: Config, kept: OnDisk, tmp_path: Path
) -> None:
    kept.repository.record([before := Event(Action.CONNECT, address="192.0.2.1")])
    backup.run(kept.config, print, print, tmp_path / "backup", copy=True)
    restored(to, tmp_path / "backup")
    with closing(open_repository(to.database_url)) as repository:
        first, last = repository.events()
    assert first == before
    assert last.action is Action.RESTORED
    assert last.operator
    assert last.subjects == (str(tmp_path / "backup"),)


def test_nothing_but_a_data_directory_for_its_owner_is_left(to: Config, backup_of: Path) -> None:
    restored(to, backup_of)
    names = {path.name for path in to.data.iterdir()}
    assert names == {"lock", "staging", "server.key", ALICE.hex(), BOB.hex()}
    for path in (to.data, *to.data.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_restore_leaves_the_backup_as_it_was_and_shares_nothing_with_it(
    to: Config, backup_of: Path
) -> None:
    def looks() -> dict[Path, tuple[int, int, bytes]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_nlink, path.read_bytes())
            for path in backup_of.rglob("*")
            if path.is_file()
        }

    before = looks()
    restored(to, backup_of)
    assert looks() == before


def test_objects_that_the_backups_database_does_not_know_are_left_out(
    to: Config, backup_of: Path
) -> None:
    (backup_of / ALICE.hex() / ("ee" * 16)).write_bytes(b"of a backup that was broken off")
    restored(to, backup_of)
    assert check(to) == 0


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_data_directory_that_is_not_empty_is_refused_and_not_touched(
    to: Config, backup_of: Path, what: str
) -> None:
    to.data.mkdir()
    (to.data / "something").mkdir() if what == "directory" else (to.data / "something").touch()
    with pytest.raises(ConfigurationError, match="it is not empty, give another --data"):
        restored(to, backup_of)
    assert [path.name for path in to.data.iterdir()] == ["something"]


def test_a_data_directory_that_a_server_uses_is_refused(kept: OnDisk, backup_of: Path) -> None:
    with pytest.raises(ConfigurationError, match="it is not empty"):
        restored(kept.config, backup_of)
    assert kept.visible() == {"one": b"1", "two": b"22"}


def test_a_database_that_is_not_empty_is_refused_and_not_touched(
    to: Config, backup_of: Path
) -> None:
    with closing(open_repository(to.database_url)) as repository:
        repository.record([event := Event(Action.CONNECT)])
        with pytest.raises(ConfigurationError, match="is not empty: give an empty one"):
            restored(to, backup_of)
        assert list(repository.events()) == [event]
        assert list(repository.clients()) == []
    assert {path.name for path in to.data.iterdir()} == {"lock", "staging"}


def test_a_refusal_is_no_obstacle_to_the_next_try(
    to: Config, backup_of: Path, tmp_path: Path
) -> None:
    with closing(open_repository(to.database_url)) as repository:
        repository.record([Event(Action.CONNECT)])
    with pytest.raises(ConfigurationError):
        restored(to, backup_of)
    other = settings_for_tests(to.data, database=f"sqlite:///{tmp_path / 'another'}")
    restored(other, backup_of)
    assert contents(other) == ALL


def test_what_is_no_backup_is_refused(to: Config, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigurationError, match="it is no backup"):
        restored(to, tmp_path / "other")
    assert not to.data.exists()


@pytest.mark.parametrize("mark", ["", "[1]", "7", "null", "{"])
def test_a_mark_that_backup_did_not_write_is_refused(
    to: Config, backup_of: Path, mark: str
) -> None:
    (backup_of / backup.MARK).write_text(mark)
    with pytest.raises(ConfigurationError, match="it is no backup"):
        restored(to, backup_of)
    assert not to.data.exists()


def test_a_backup_that_was_broken_off_is_refused(
    to: Config, kept: OnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as broken:
        broken.setattr(backup.Backup, "_put_database_in_place", crash)
        with pytest.raises(Crash):
            backup.run(kept.config, print, print, tmp_path / "backup", copy=True)
    with pytest.raises(ConfigurationError, match="before the backup was complete"):
        restored(to, tmp_path / "backup")


def test_a_backup_that_is_being_renewed_is_refused(
    to: Config, backup_of: Path, kept: OnDisk
) -> None:
    with (
        backup._held(kept.config.data, backup_of),
        pytest.raises(ConfigurationError, match="another process uses it"),
    ):
        restored(to, backup_of)


def test_no_data_directory_lies_in_the_backup(backup_of: Path) -> None:
    with pytest.raises(ConfigurationError, match="it lies in the backup"):
        restored(settings_for_tests(backup_of / "data"), backup_of)
    assert not (backup_of / "data").exists()


def test_damage_is_told_of_and_all_else_restored(to: Config, backup_of: Path) -> None:
    first, second = (backup_of / ALICE.hex()).iterdir()
    first.write_bytes(b"X" * first.stat().st_size)
    second.unlink()
    lines: list[str] = []
    failures: list[StorageError] = []
    assert restore.run(to, lines.append, failures.append, backup_of) == 1
    assert sorted(line.partition(":")[0] for line in lines[:-1]) == ["another content", "missing"]
    assert [str(failure) for failure in failures] == [
        "2 of them are not as they were when they were received"
    ]
    assert (to.data / BOB.hex()).exists()
    with closing(DirectoryStorage(to.data)):
        pass  # a server would start


def test_a_restore_that_is_broken_off_anywhere_is_refused_to_servers_and_goes_on(
    to: Config, backup_of: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(to.data, monkeypatch)
    fill = CopyStatements.fill_from

    def commits(self: CopyStatements, copy: Path, event: Event) -> None:
        steps.record("commit")
        fill(self, copy, event)
        steps.record("committed")

    monkeypatch.setattr(CopyStatements, "fill_from", commits)
    restored(to, backup_of)
    # What a process leaves that ends is the same before a sync and after.
    taken = [step for step in dict.fromkeys(steps.taken) if not step.startswith("sync")]
    assert len(taken) > 8
    for number, step in enumerate(taken):
        one = replace(to, data=tmp_path / f"{number}", database=another(to, tmp_path, number))
        steps.root = one.data
        steps.fail(step, whole=True)
        with pytest.raises(Crash):
            restored(one, backup_of)
        steps.mend()
        if (one.data / RESTORE_MARK).exists():
            with pytest.raises(ConfigurationError, match="a restore has not ended there"):
                DirectoryStorage(one.data)
        if not any(one.data.glob(ALICE.hex())) or (one.data / RESTORE_MARK).exists():
            restored(one, backup_of)
        assert contents(one) == ALL, step
        assert check(one) == 0, step
        with closing(open_repository(one.database_url)) as repository:
            assert [event.action for event in repository.events()] == [Action.RESTORED], step


def another(to: Config, directory: Path, number: int) -> str:
    """The URL of one more empty database of this kind."""
    if to.database_url.startswith("sqlite"):
        return f"sqlite:///{directory / f'rows {number}'}"
    name = urlsplit(to.database_url).path.strip("/")
    with closing(open_repository(to.database_url)) as repository:
        assert isinstance(repository, MySQLRepository)
        repository._write(lambda rows: rows.change(f"CREATE DATABASE {name}_{number}"))
    return to.database_url.replace(name, f"{name}_{number}")


def test_a_restore_of_another_backup_is_not_gone_on_with(
    to: Config, kept: OnDisk, backup_of: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(to.data, monkeypatch)
    steps.fail("rename restore.sqlite3")
    with pytest.raises(Crash):
        restored(to, backup_of)
    steps.mend()
    kept.keep("four", b"4444")
    assert backup.run(kept.config, print, print, backup_of, copy=True) == 0
    with pytest.raises(ConfigurationError, match="the restore of another backup was broken off"):
        restored(to, backup_of)


def test_a_mark_that_is_damaged_is_refused(to: Config, backup_of: Path) -> None:
    to.data.mkdir()
    (to.data / RESTORE_MARK).write_text("{}")
    with pytest.raises(ConfigurationError, match="is damaged: empty the directory"):
        restored(to, backup_of)


def test_a_disk_that_is_full_is_told_of_and_the_restore_goes_on(
    to: Config, backup_of: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(to.data, monkeypatch)
    steps.fail(f"rename {BOB.hex()}", disk_full)
    with pytest.raises(StorageError, match="No space left on device"):
        restored(to, backup_of)
    steps.mend()
    restored(to, backup_of)
    assert contents(to) == ALL


@pytest.mark.parametrize(
    "database", ["mysql://eft@localhost/eft?unix_socket=/nowhere", "sqlite:////dev/null/rows"]
)
def test_a_database_that_cannot_be_opened_leaves_nothing_to_be_gone_on_with(
    tmp_path: Path, kept: OnDisk, backup_of: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    monkeypatch.setattr(Patience, "pause", lambda *_: float("inf"))  # nobody waits for it
    data = tmp_path / "restored"
    with pytest.raises(RepositoryError, match=r"; nothing was restored$") as told:
        restored(settings_for_tests(data, database=database), backup_of)
    assert len(str(told.value).splitlines()) == 1
    assert {path.name for path in data.iterdir()} <= {"lock", "staging"}
    kept.keep("four", b"4444")
    other = tmp_path / "another backup"
    assert backup.run(kept.config, print, print, other, copy=True) == 0
    to = settings_for_tests(data)
    restored(to, other)
    assert contents(to) == ALL | {("Alice", "four"): b"4444"}


def away(*_: object) -> None:
    raise RepositoryUnavailable("away")


def test_a_database_file_that_was_begun_in_the_data_directory_is_gone_on_with(
    tmp_path: Path, backup_of: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = settings_for_tests(tmp_path / "restored")
    with monkeypatch.context() as patch:
        patch.setattr(SqlRepository, "is_empty", away)
        with pytest.raises(RepositoryError, match=r"give the command again, and it goes on$"):
            restored(to, backup_of)
    with pytest.raises(ConfigurationError, match="give `restore` again"):
        DirectoryStorage(to.data)
    restored(to, backup_of)
    assert contents(to) == ALL


def test_a_database_that_goes_away_later_is_told_with_the_way_on(
    to: Config, backup_of: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CopyStatements, "fill_from", away)
        with pytest.raises(RepositoryError, match=r"^away; give the command again, and it goes on"):
            restored(to, backup_of)
        with pytest.raises(RepositoryError, match=r"^away; give the command again, and it goes on"):
            restored(to, backup_of)
    restored(to, backup_of)
    assert contents(to) == ALL


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_mariadb_that_is_written_to_is_backed_up_and_restored_whole(
    database_url: str, mariadb: MariaDB, tmp_path: Path
) -> None:
    data, target = tmp_path / "data", tmp_path / "backup"
    config = settings_for_tests(data, database=database_url)
    steady = {("bob", f"steady/{number}"): os.urandom(100) for number in range(20)}
    with running(data, registration="open", database=database_url) as server:
        with Peer4(server.port, "bob").open().introduce() as bob:
            for (_, name), content in steady.items():
                bob.put(name, content)
        writer = Writer(server)
        for _ in range(5):
            assert backup.run(config, print, print, target, copy=False) == 0
            assert check(settings_for_tests(target)) == 0
        writer.stop()
    for database in (mariadb.url(mariadb.new_database()), f"sqlite:///{tmp_path / 'rows'}"):
        to = settings_for_tests(tmp_path / f"restored {len(database)}", database=database)
        restored(to, target)
        assert steady.items() <= contents(to).items()
        with running(to.data, registration="open", database=database) as server:
            assert server.stored().keys() >= steady.keys()


def test_the_command_takes_the_options_that_all_others_take(
    tmp_path: Path, backup_of: Path
) -> None:
    (tmp_path / "server.toml").write_text('data = "from the file"\n')
    told = commands.run(tmp_path, "--config", "server.toml", "restore", str(backup_of))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("3 files, 6 bytes restored from ")
    again = commands.run(
        tmp_path, "restore", str(backup_of), EFT_DATA=str(tmp_path / "from the file")
    )
    assert again.returncode == 1
    assert again.stdout == ""
    assert again.stderr == (
        f"error: data directory {tmp_path}/from the file: it is not empty, give another --data\n"
    )


def test_a_server_does_not_start_where_a_restore_has_not_ended(
    tmp_path: Path, backup_of: Path
) -> None:
    config = settings_for_tests(tmp_path / "half")
    with pytest.MonkeyPatch.context() as monkeypatch:
        watch(config.data, monkeypatch).fail("remove restore.json", whole=True)
        with pytest.raises(Crash):
            restored(config, backup_of)
    for command in ([], ["check"], ["backup", "elsewhere"]):
        told = commands.run(tmp_path, "--port", "0", "--data", "half", *command)
        assert told.returncode in (1, 2)
        assert told.stderr == (
            "error: data directory half: a restore has not ended there: give `restore` again\n"
        )
