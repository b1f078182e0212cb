"""`backup`: what is restored from it has every file that was acknowledged before it began."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server import backup, checking
from server.config import Config
from server.errors import ConfigurationError, StorageError
from server.repository import Repository, open_repository
from server.storage import DirectoryStorage
from tests.peer4.client import Peer4
from tests.server.on_disk import ALICE, OnDisk
from tests.server.repository import samples
from tests.server.running import running, settings_for_tests
from tests.server.writing import Writer


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[OnDisk]:
    """A server's data with two files of Alice's."""
    with OnDisk(tmp_path / "data") as server:
        server.register()
        server.keep("one", b"1")
        server.keep("two", b"22")
        yield server


def back_up(config: Config, target: Path, *, copy: bool = False) -> str:
    """Makes a backup that nothing is missing from; what is said of it."""
    lines: list[str] = []
    failures: list[StorageError] = []
    assert backup.run(config, lines.append, failures.append, target, copy=copy) == 0
    assert failures == []
    (line,) = lines
    return line


def contents(data: Path) -> dict[str, bytes]:
    """Every file of a data directory, by name."""
    storage = DirectoryStorage.looking_at(data)
    url = Config(data=data).database_url
    with closing(open_repository(url, create=False)) as repository:
        return {
            file.name: storage.path(client.id, file.object_id).read_bytes()
            for client in repository.clients()
            for file in repository.files(client.id)
        }


def check(data: Path) -> int:
    """The exit status of `check --deep`."""
    config = settings_for_tests(data)
    return checking.run(config, lambda _: None, deep=True, mend=False, as_json=False)


@pytest.mark.parametrize("copy", [False, True])
def test_a_backup_has_all_and_is_whole(kept: OnDisk, tmp_path: Path, *, copy: bool) -> None:
    line = back_up(kept.config, tmp_path / "backup", copy=copy)
    assert line.startswith("2 files, 3 bytes in ")
    assert contents(tmp_path / "backup") == {"one": b"1", "two": b"22"}
    assert check(tmp_path / "backup") == 0


@pytest.mark.parametrize("copy", [False, True])
def test_objects_are_linked_unless_copies_are_asked_for(
    kept: OnDisk, tmp_path: Path, *, copy: bool
) -> None:
    back_up(kept.config, tmp_path / "backup", copy=copy)
    (path, _) = sorted((tmp_path / "backup" / ALICE.hex()).iterdir())
    assert path.stat().st_nlink == (1 if copy else 2)


def test_objects_are_copied_where_they_cannot_be_linked(
    kept: OnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(_source: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    back_up(kept.config, tmp_path / "backup")
    assert check(tmp_path / "backup") == 0


def test_nobody_else_can_read_a_backup(kept: OnDisk, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    back_up(kept.config, target, copy=True)
    for path in (target, *target.rglob("*")):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_a_backup_is_brought_up_to_date(kept: OnDisk, tmp_path: Path) -> None:
    back_up(kept.config, tmp_path / "backup")
    kept.keep("one", b"new")
    removed = kept.repository.remove_file(ALICE, "two")
    assert removed is not None
    kept.receiver.remove_superseded(ALICE, removed)
    assert back_up(kept.config, tmp_path / "backup").endswith("1 of them new")
    assert contents(tmp_path / "backup") == {"one": b"new"}
    assert len(list((tmp_path / "backup" / ALICE.hex()).iterdir())) == 1
    assert check(tmp_path / "backup") == 0


def test_unfinished_uploads_and_replaced_objects_are_left_out(kept: OnDisk, tmp_path: Path) -> None:
    client = kept.repository.find_client(ALICE)
    assert client is not None
    kept.repository.begin_upload(samples.upload(client))
    kept.repository.remove_file(ALICE, "two")
    back_up(kept.config, tmp_path / "backup")
    assert check(tmp_path / "backup") == 0
    assert len(list(kept.repository.pending_uploads())) == 1


def test_a_file_that_is_replaced_meanwhile_makes_another_copy_of_the_database(
    kept: OnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = backup.Backup._snapshot
    taken: list[None] = []

    def late(self: backup.Backup, repository: Repository) -> object:
        taken.append(None)
        if len(taken) == 1:
            with snapshot(self, repository):
                pass
            kept_database = self.target / "eft.sqlite3.new"
            shutil.copy(kept_database, tmp_path / "early.sqlite3")
            kept.keep("one", b"replaced")
            return closing(open_repository(f"sqlite:///{tmp_path / 'early.sqlite3'}"))
        return snapshot(self, repository)

    monkeypatch.setattr(backup.Backup, "_snapshot", late)
    back_up(kept.config, tmp_path / "backup")
    assert len(taken) == 2
    assert contents(tmp_path / "backup")["one"] == b"replaced"
    assert check(tmp_path / "backup") == 0


def test_bytes_that_the_server_has_lost_are_told_of(kept: OnDisk, tmp_path: Path) -> None:
    file = kept.repository.find_file(ALICE, "one")
    assert file is not None
    kept.storage.remove(ALICE, file.object_id)
    failures: list[StorageError] = []
    status = backup.run(kept.config, print, failures.append, tmp_path / "backup", copy=False)
    assert status == 1
    assert [str(each) for each in failures] == [
        "the bytes of 'Alice/one' are gone: not in the backup"
    ]
    assert (tmp_path / "backup" / "eft.sqlite3").exists()


def test_a_directory_of_something_else_is_not_touched(kept: OnDisk, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(ConfigurationError, match="neither empty nor a backup"):
        backup.run(kept.config, print, print, tmp_path / "other", copy=False)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]


def test_no_backup_lies_in_the_data_directory(kept: OnDisk) -> None:
    with pytest.raises(ConfigurationError, match="lies in the data directory"):
        backup.run(kept.config, print, print, kept.config.data / "backup", copy=False)
    assert not (kept.config.data / "backup").exists()


def test_a_backup_that_was_broken_off_is_continued(
    kept: OnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        full.setattr(shutil, "copyfileobj", no_room)
        with pytest.raises(StorageError, match="No space left on device"):
            backup.run(kept.config, print, print, tmp_path / "backup", copy=True)
    back_up(kept.config, tmp_path / "backup", copy=True)
    assert check(tmp_path / "backup") == 0
    assert not list((tmp_path / "backup").rglob("*.partial"))


def no_room(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_server_that_is_being_written_to_is_restored_whole(tmp_path: Path) -> None:
    data, target, restored = tmp_path / "data", tmp_path / "backup", tmp_path / "restored"
    steady = {f"steady/{number}": os.urandom(100) for number in range(20)}
    with running(data, registration="open") as server:
        with Peer4(server.port, "bob").open().introduce() as bob:
            for name, content in steady.items():
                bob.put(name, content)
        writer = Writer(server)
        for _ in range(5):
            back_up(settings_for_tests(data), target)
            assert check(target) == 0
        writer.stop()
    shutil.copytree(target, restored)
    assert check(restored) == 0
    assert steady.items() <= contents(restored).items()
    with running(restored, registration="open") as server:
        assert server.stored().keys() >= {("bob", name) for name in steady}
    assert check(restored) == 0
