"""Appending past the page cache: the bytes are the same wherever they go."""

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from client.appending import Appending

SEGMENT = 2**20
PIECES = (SEGMENT, SEGMENT, 5, SEGMENT, 4096, 0, 4091, SEGMENT, SEGMENT - 1)


@pytest.fixture(params=[None, "/dev/shm"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=request.param) as made:
        yield Path(made)


def is_direct(file: FileIO) -> bool:
    return bool(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT)


def test_pieces_of_any_size_are_appended_as_they_are(directory: Path, memory: memoryview) -> None:
    path, expected = directory / "file", b""
    with FileIO(path, "w") as file:
        appending = Appending(file)
        for size in PIECES:
            memory[:size] = content = os.urandom(size)
            appending.write(memory[:size], aligned=True)
            expected += content

    assert path.read_bytes() == expected


def test_whole_blocks_at_whole_blocks_go_past_the_page_cache(
    tmp_path: Path, memory: memoryview
) -> None:
    try:
        os.close(os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError as error:
        pytest.skip(f"O_DIRECT is not to be had in {tmp_path}: {error}")
    with FileIO(tmp_path / "file", "w") as file:
        appending = Appending(file)
        seen = []
        for size, aligned in ((SEGMENT, True), (SEGMENT, False), (SEGMENT, True), (5, True),
                              (SEGMENT, True)):  # fmt: skip
            appending.write(memory[:size], aligned=aligned)
            seen.append(is_direct(file))

    assert seen == [True, False, True, False, False]


def test_a_file_system_that_wants_something_else_is_written_to_as_usual(
    tmp_path: Path, memory: memoryview
) -> None:
    class Choosy(FileIO):
        refused = 0

        def write(self, data: object, /) -> int:
            if is_direct(self):
                self.refused += 1
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return super().write(data)  # type: ignore[arg-type]

    memory[:] = content = os.urandom(SEGMENT)
    with Choosy(tmp_path / "file", "w") as file:
        appending = Appending(file)
        for _ in range(3):
            appending.write(memory, aligned=True)

    assert (tmp_path / "file").read_bytes() == content * 3
    assert file.refused == 1


def test_an_error_of_the_disk_is_raised(tmp_path: Path, memory: memoryview) -> None:
    class Full(FileIO):
        def write(self, _data: object, /) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Full(tmp_path / "file", "w") as file, pytest.raises(OSError, match="No space"):
        Appending(file).write(memory, aligned=True)


def test_short_writes_are_gone_on_with(tmp_path: Path, memory: memoryview) -> None:
    class Short(FileIO):
        def write(self, data: memoryview, /) -> int:  # type: ignore[override]
            return super().write(data[:1000])

    memory[:] = content = os.urandom(SEGMENT)
    with Short(tmp_path / "file", "w") as file:
        Appending(file).write(memory, aligned=True)

    assert (tmp_path / "file").read_bytes() == content
