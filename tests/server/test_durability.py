"""Every name that an acknowledgement rests on is on the disk before the next step."""

import errno
import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from server.durability import make_directory, sync_directory
from server.errors import StorageError
from server.storage import DirectoryStorage
from tests.server.on_disk import io_error, watch

CLIENT, UPLOAD, OTHER = b"\x01" * 16, b"\x02" * 16, b"\x03" * 16


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[DirectoryStorage]:
    with closing(DirectoryStorage(tmp_path)) as storage:
        yield storage


def _stage(storage: DirectoryStorage, object_id: bytes) -> None:
    storage.stage(object_id).close()


def test_a_new_data_directory_is_synced_from_the_first_directory_that_existed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(tmp_path, monkeypatch)
    DirectoryStorage(tmp_path / "a" / "b").close()
    assert list(dict.fromkeys(steps.taken)) == ["sync .", "sync a", "sync a/b"]


def test_a_data_directory_of_an_earlier_start_is_synced_in_its_parent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    steps = watch(tmp_path, monkeypatch)
    DirectoryStorage(tmp_path / "data").close()
    assert steps.taken[0] == "sync ."


def test_a_clients_first_file_syncs_its_directory_and_the_one_above(
    storage: DirectoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stage(storage, UPLOAD)
    steps = watch(tmp_path, monkeypatch)
    storage.publish(CLIENT, UPLOAD)
    target = f"{CLIENT.hex()}/{UPLOAD.hex()}"
    assert steps.taken == ["sync .", f"rename {target}", f"sync {CLIENT.hex()}"]


def test_a_clients_next_file_syncs_its_directory_alone(
    storage: DirectoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for object_id in (UPLOAD, OTHER):
        _stage(storage, object_id)
    storage.publish(CLIENT, UPLOAD)
    steps = watch(tmp_path, monkeypatch)
    storage.publish(CLIENT, OTHER)
    assert [step for step in steps.taken if step.startswith("sync")] == [f"sync {CLIENT.hex()}"]


def test_a_clients_directory_whose_sync_failed_is_synced_again(
    storage: DirectoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for object_id in (UPLOAD, OTHER):
        _stage(storage, object_id)
    steps = watch(tmp_path, monkeypatch)
    steps.fail("sync .", io_error)
    with pytest.raises(StorageError):
        storage.publish(CLIENT, UPLOAD)
    steps.mend()
    storage.publish(CLIENT, OTHER)
    assert steps.taken.count("sync .") == 2


def test_a_clients_directory_found_at_start_up_is_synced_before_it_is_relied_on(
    storage: DirectoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / CLIENT.hex()).mkdir()
    _stage(storage, UPLOAD)
    steps = watch(tmp_path, monkeypatch)
    storage.publish(CLIENT, UPLOAD)
    assert steps.taken[0] == "sync ."


def test_publishing_again_syncs_again(
    storage: DirectoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stage(storage, UPLOAD)
    storage.publish(CLIENT, UPLOAD)
    steps = watch(tmp_path, monkeypatch)
    storage.publish(CLIENT, UPLOAD)
    assert steps.taken == [f"sync {CLIENT.hex()}"]


def test_an_object_set_aside_is_durable_in_its_new_place_before_it_leaves_the_old(
    storage: DirectoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stage(storage, UPLOAD)
    storage.publish(CLIENT, UPLOAD)
    steps = watch(tmp_path, monkeypatch)
    storage.set_aside(CLIENT, UPLOAD)
    aside = f"orphans/{CLIENT.hex()}"
    assert steps.taken == [
        "sync .",
        "sync orphans",
        f"rename {aside}/{UPLOAD.hex()}",
        f"sync {aside}",
        f"sync {CLIENT.hex()}",
    ]


def test_a_large_file_is_written_out_before_its_end(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_out: list[int] = []
    advise = os.posix_fadvise

    def recorded(descriptor: int, offset: int, length: int, advice: int) -> None:
        written_out.append(offset)
        advise(descriptor, offset, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", recorded)
    with closing(storage.stage(UPLOAD)) as staged:
        for _ in range(18):
            staged.write(memoryview(bytes(2**20)))
    assert written_out == [0, 8 * 2**20]


def _aligned(content: bytes) -> memoryview:
    memory = memoryview(mmap.mmap(-1, len(content)))
    memory[:] = content
    return memory


def _count_flags(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Notes with each change of a descriptor's flags whether O_DIRECT is in them then."""
    set_flags, noted = fcntl.fcntl, []

    def fcntl_noted(descriptor: int, what: int, argument: int = 0) -> int:
        if what == fcntl.F_SETFL:
            noted.append(bool(argument & os.O_DIRECT))
        return set_flags(descriptor, what, argument)

    monkeypatch.setattr(fcntl, "fcntl", fcntl_noted)
    return noted


def test_large_aligned_pieces_pass_by_the_page_cache_and_others_do_not(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = _count_flags(monkeypatch)
    large, rest = os.urandom(2**20), os.urandom(5000)
    with closing(storage.stage(UPLOAD)) as staged:
        for piece in (_aligned(large), _aligned(large), _aligned(rest), _aligned(large)):
            staged.write(piece)
        staged.sync()
        content = b"".join(bytes(each) for each in staged.content(memoryview(bytearray(2**20))))
    assert content == large * 2 + rest + large
    assert noted == [True, False]


def test_a_file_system_without_direct_writing_gets_the_same_bytes(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = _count_flags(monkeypatch)
    write, refused = os.write, []

    def refuse_direct(descriptor: int, data: memoryview) -> int:
        if noted[-1:] == [True]:
            refused.append(len(data))
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", refuse_direct)
    large = os.urandom(2**20)
    with closing(storage.stage(UPLOAD)) as staged:
        for _ in range(3):
            staged.write(_aligned(large))
        assert staged.size == 3 * 2**20
        content = b"".join(bytes(each) for each in staged.content(memoryview(bytearray(2**20))))
    assert content == large * 3
    assert refused == [2**20]


def test_making_a_directory_that_exists_syncs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(tmp_path, monkeypatch)
    make_directory(tmp_path)
    assert not steps.taken


def test_syncing_leaves_no_descriptor_open_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch(tmp_path, monkeypatch).fail("sync", io_error)
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone
    with pytest.raises(OSError, match="Input/output error"):
        sync_directory(tmp_path)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_syncing_what_is_no_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")
