"""Where bytes lie, who may see them, and what is said when the disk refuses."""

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from server.errors import ConfigurationError, StorageError
from server.storage import DirectoryStorage, StagedFile
from tests.server.on_disk import disk_full, io_error, read_only, watch

CLIENT, UPLOAD, OTHER = b"\x01" * 16, b"\x02" * 16, b"\x03" * 16


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def storage(root: Path) -> Iterator[DirectoryStorage]:
    with closing(DirectoryStorage(root)) as storage:
        yield storage


def _staged(storage: DirectoryStorage, content: bytes = b"content") -> StagedFile:
    staged = storage.stage(UPLOAD)
    staged.write(memoryview(content))
    return staged


def _published(storage: DirectoryStorage, content: bytes = b"content") -> Path:
    staged = _staged(storage, content)
    staged.sync()
    staged.close()
    storage.publish(CLIENT, UPLOAD)
    return storage.path(CLIENT, UPLOAD)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# From staged to published


def test_a_staged_file_is_no_object(storage: DirectoryStorage, root: Path) -> None:
    with closing(_staged(storage)):
        assert not storage.path(CLIENT, UPLOAD).exists()
        assert (root / "staging" / UPLOAD.hex()).read_bytes() == b"content"


def test_a_published_file_is_an_object_and_no_longer_staged(
    storage: DirectoryStorage, root: Path
) -> None:
    assert _published(storage).read_bytes() == b"content"
    assert not list((root / "staging").iterdir())


def test_an_object_lies_under_the_ids_of_its_client_and_upload(
    storage: DirectoryStorage, root: Path
) -> None:
    assert _published(storage) == root / CLIENT.hex() / UPLOAD.hex()


def test_publishing_again_changes_nothing(storage: DirectoryStorage) -> None:
    path = _published(storage)
    storage.publish(CLIENT, UPLOAD)
    assert path.read_bytes() == b"content"


def test_publishing_what_was_never_staged_is_an_error(storage: DirectoryStorage) -> None:
    with pytest.raises(StorageError, match="cannot publish a file: No such file"):
        storage.publish(CLIENT, UPLOAD)


def test_an_object_id_is_staged_once(storage: DirectoryStorage) -> None:
    with closing(_staged(storage)), pytest.raises(StorageError, match="File exists"):
        storage.stage(UPLOAD)


def test_a_discarded_file_is_gone(storage: DirectoryStorage, root: Path) -> None:
    _staged(storage).discard()
    assert not list((root / "staging").iterdir())


def test_discarding_again_is_harmless(storage: DirectoryStorage) -> None:
    staged = _staged(storage)
    staged.discard()
    staged.discard()


def test_what_could_not_be_removed_when_it_was_discarded_is_removed_by_the_next_sweep(
    storage: DirectoryStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(root, monkeypatch)
    staged = _staged(storage)
    steps.fail("remove", io_error)
    staged.discard()
    with pytest.raises(StorageError, match="cannot remove a staged file"):
        storage.sweep_left_behind()
    steps.mend()

    assert storage.sweep_left_behind() == 1
    assert not list((root / "staging").iterdir())
    assert storage.sweep_left_behind() == 0


def test_a_sweep_leaves_alone_what_was_discarded_and_then_resumed(
    storage: DirectoryStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(root, monkeypatch)
    staged = _staged(storage)
    steps.fail("remove", io_error)
    staged.discard()
    steps.mend()

    with closing(storage.resume(CLIENT, UPLOAD)) as resumed:
        assert storage.sweep_left_behind() == 0
        assert resumed.size == len(b"content")
    assert list((root / "staging").iterdir()) == [root / "staging" / UPLOAD.hex()]


def test_discarding_after_publication_leaves_the_object(storage: DirectoryStorage) -> None:
    staged = _staged(storage)
    storage.publish(CLIENT, UPLOAD)
    staged.discard()
    assert storage.path(CLIENT, UPLOAD).exists()


def test_a_clients_directory_that_was_taken_away_is_made_again(storage: DirectoryStorage) -> None:
    path = _published(storage)
    path.unlink()
    path.parent.rmdir()
    assert _published(storage).exists()


def test_removing_an_object_removes_its_bytes(storage: DirectoryStorage) -> None:
    path = _published(storage)
    storage.remove(CLIENT, UPLOAD)
    assert not path.exists()


def test_removing_what_is_gone_is_harmless(storage: DirectoryStorage) -> None:
    storage.remove(CLIENT, UPLOAD)


# Rights


def test_directories_are_for_the_server_alone(storage: DirectoryStorage, root: Path) -> None:
    _published(storage)
    storage.set_aside(CLIENT, UPLOAD)
    directories = [root, *(path for path in root.rglob("*") if path.is_dir())]
    assert {_mode(directory) for directory in directories} == {0o700}


def test_files_are_for_the_server_alone(storage: DirectoryStorage, root: Path) -> None:
    _published(storage)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {_mode(file) for file in files} == {0o600}


def test_the_directories_above_the_data_are_made_for_the_server_alone(tmp_path: Path) -> None:
    with closing(DirectoryStorage(tmp_path / "a" / "b" / "c")):
        assert {_mode(tmp_path / path) for path in ("a", "a/b", "a/b/c")} == {0o700}


def test_the_rights_of_a_directory_that_exists_are_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with closing(DirectoryStorage(tmp_path)):
        assert _mode(tmp_path) == 0o755


# One server at a time

_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from server.errors import ConfigurationError
from server.storage import DirectoryStorage
try:
    DirectoryStorage(Path(sys.argv[1]))
except ConfigurationError as error:
    sys.exit(str(error))
"""


def _another_process(root: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _ANOTHER_PROCESS, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("storage")
def test_another_process_is_refused_while_one_uses_the_directory(root: Path) -> None:
    assert "in use by another server" in _another_process(root).stderr


def test_another_process_may_have_the_directory_afterwards(root: Path) -> None:
    DirectoryStorage(root).close()
    assert _another_process(root).returncode == 0


def test_the_lock_of_a_process_that_ended_in_any_way_is_free(root: Path) -> None:
    _another_process(root)
    DirectoryStorage(root).close()


@pytest.mark.usefixtures("storage")
def test_a_refused_server_leaves_no_descriptor_open(root: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    with pytest.raises(ConfigurationError):
        DirectoryStorage(root)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# Directories that cannot be used


def test_a_file_in_place_of_the_directory_is_refused(root: Path) -> None:
    root.write_text("")
    with pytest.raises(ConfigurationError, match=f"data directory {root}: Not a directory"):
        DirectoryStorage(root)


def test_a_directory_below_a_file_is_refused(root: Path) -> None:
    root.write_text("")
    with pytest.raises(ConfigurationError, match="Not a directory"):
        DirectoryStorage(root / "below")


def test_a_file_in_place_of_the_staging_directory_is_refused(root: Path) -> None:
    root.mkdir()
    (root / "staging").write_text("")
    with pytest.raises(ConfigurationError, match="File exists"):
        DirectoryStorage(root)


def test_a_read_only_file_system_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise read_only()

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(ConfigurationError, match="Read-only file system"):
        DirectoryStorage(root)


# Full and failing disks


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size`: as on a full disk, a write comes up short
    and the next one fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_does_not_fit_is_an_error(storage: DirectoryStorage) -> None:
    with closing(storage.stage(UPLOAD)) as staged, _largest_file(10_000):
        staged.write(memoryview(bytes(9_000)))
        with pytest.raises(StorageError, match="cannot write a staged file: File too large"):
            staged.write(memoryview(bytes(2_000)))


def test_what_did_not_fit_can_be_discarded(storage: DirectoryStorage, root: Path) -> None:
    staged = storage.stage(UPLOAD)
    with _largest_file(1_000), pytest.raises(StorageError):
        staged.write(memoryview(bytes(2_000)))
    staged.discard()
    assert not list((root / "staging").iterdir())


def test_short_writes_are_completed(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:1]))
    assert _published(storage, b"byte by byte").read_bytes() == b"byte by byte"


@pytest.mark.parametrize("error", [disk_full, read_only, io_error])
def test_a_failing_write_is_an_error_that_names_the_cause(
    storage: DirectoryStorage, root: Path, monkeypatch: pytest.MonkeyPatch, error: "type[OSError]"
) -> None:
    watch(root, monkeypatch).fail("write", error)
    with closing(storage.stage(UPLOAD)) as staged, pytest.raises(StorageError) as caught:
        staged.write(memoryview(b"x"))
    assert str(error().strerror) in str(caught.value)


def test_a_failing_sync_is_an_error(
    storage: DirectoryStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(_staged(storage)) as staged:
        watch(root, monkeypatch).fail("sync", io_error)
        with pytest.raises(StorageError, match="cannot sync a staged file: Input/output error"):
            staged.sync()


@pytest.mark.parametrize("step", ["rename", "sync", f"sync {CLIENT.hex()}"])
def test_a_failing_publication_is_an_error(
    storage: DirectoryStorage, root: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    _staged(storage).close()
    watch(root, monkeypatch).fail(step, io_error)
    with pytest.raises(StorageError, match="cannot publish a file: Input/output error"):
        storage.publish(CLIENT, UPLOAD)


def test_staging_where_nothing_can_be_made_is_an_error(
    storage: DirectoryStorage, root: Path
) -> None:
    (root / "staging").rmdir()
    with pytest.raises(StorageError, match="cannot stage a file: No such file"):
        storage.stage(UPLOAD)


def test_an_object_that_cannot_be_removed_is_an_error(storage: DirectoryStorage) -> None:
    storage.path(CLIENT, UPLOAD).mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot remove an object: Is a directory"):
        storage.remove(CLIENT, UPLOAD)


def test_a_staged_file_that_cannot_be_removed_now_is_left_for_the_next_start(
    storage: DirectoryStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staged = _staged(storage)
    steps = watch(root, monkeypatch)
    steps.fail("remove", io_error)
    staged.discard()
    steps.mend()
    assert storage.sweep_staging() == 1


# Start-up's view


def test_sweeping_removes_every_staged_file(storage: DirectoryStorage, root: Path) -> None:
    for object_id in (UPLOAD, OTHER):
        storage.stage(object_id).close()
    assert storage.sweep_staging() == 2
    assert not list((root / "staging").iterdir())


def test_what_cannot_be_swept_is_an_error(storage: DirectoryStorage, root: Path) -> None:
    (root / "staging" / "directory").mkdir()
    with pytest.raises(StorageError, match="cannot sweep"):
        storage.sweep_staging()


def test_clients_are_listed_and_nothing_else(storage: DirectoryStorage, root: Path) -> None:
    _published(storage)
    for name in ("x", "F" * 32, "0" * 31, "0" * 33):
        (root / name).mkdir()
    assert list(storage.client_ids()) == [CLIENT]


def test_objects_are_listed_and_nothing_else(storage: DirectoryStorage) -> None:
    path = _published(storage)
    path.with_name("note.txt").write_text("the operator's")
    assert list(storage.object_ids(CLIENT)) == [UPLOAD]


def test_a_client_without_a_directory_has_no_objects(storage: DirectoryStorage) -> None:
    assert not list(storage.object_ids(CLIENT))


def test_a_data_directory_that_vanished_cannot_be_listed(
    storage: DirectoryStorage, root: Path
) -> None:
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(StorageError, match=f"cannot list {root}"):
        storage.client_ids()


def test_an_object_set_aside_is_no_object_but_keeps_its_bytes(
    storage: DirectoryStorage, root: Path
) -> None:
    _published(storage)
    storage.set_aside(CLIENT, UPLOAD)
    assert not list(storage.object_ids(CLIENT))
    assert (root / "orphans" / CLIENT.hex() / UPLOAD.hex()).read_bytes() == b"content"


def test_an_object_brought_back_is_the_same_object(storage: DirectoryStorage) -> None:
    path = _published(storage)
    storage.set_aside(CLIENT, UPLOAD)
    assert storage.bring_back(CLIENT, UPLOAD)
    assert path.read_bytes() == b"content"


def test_what_was_not_set_aside_is_not_brought_back(storage: DirectoryStorage) -> None:
    assert not storage.bring_back(CLIENT, UPLOAD)


def test_an_object_that_cannot_be_moved_is_an_error(storage: DirectoryStorage) -> None:
    with pytest.raises(StorageError, match="cannot move an object"):
        storage.set_aside(CLIENT, UPLOAD)


def test_the_free_space_is_what_the_file_system_gives_to_anybody(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = (4096, 512, 0, 900, 700, 0, 0, 0, 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(values))
    assert storage.free_bytes() == 700 * 512


def test_free_space_that_cannot_be_read_is_an_error(storage: DirectoryStorage, root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(StorageError, match="cannot read the free disk space"):
        storage.free_bytes()


def test_after_a_failed_sync_of_everything_every_file_is_asked_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DirectoryStorage(tmp_path / "data")
    ids = [bytes([number]) * 16 for number in range(20)]
    placed = [(object_id, memoryview(b"content")) for object_id in ids]
    asked: list[int] = []

    def failing(_descriptor: int) -> bool:
        asked.append(1)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("server.storage.directory.sync_file_system", failing)
    assert storage.place(CLIENT, placed) == [None] * 20
    with pytest.raises(StorageError):
        storage.make_durable(CLIENT, ids)
    storage.make_durable(CLIENT, ids)
    assert len(asked) == 1
    storage.close()
