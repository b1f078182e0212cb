"""Reading objects: the same bytes past the page cache and through it."""

import errno
import os
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from server.errors import StorageError
from server.storage import pass_over_page_cache, read_fully

SEGMENT = 2**20
CONTENT = os.urandom(2 * SEGMENT + 5)


@pytest.fixture(params=[None, "/dev/shm"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=request.param or tmp_path) as made:
        (Path(made) / "object").write_bytes(CONTENT)
        yield Path(made) / "object"


@pytest.mark.parametrize("passing_over", [False, True])
@pytest.mark.parametrize("size", [SEGMENT, 4096, 1000])
def test_an_object_is_read_whole(
    path: Path, memory: memoryview, size: int, passing_over: bool
) -> None:
    with FileIO(path) as stream:
        if passing_over:
            pass_over_page_cache(stream)
        read = b""
        while len(read) < len(CONTENT):
            due = min(size, len(CONTENT) - len(read))
            assert read_fully(stream, memory[:due]) == due
            read += memory[:due]

    assert read == CONTENT


@pytest.mark.parametrize("passing_over", [False, True])
def test_an_object_that_ends_too_early_is_told(
    path: Path, memory: memoryview, passing_over: bool
) -> None:
    with FileIO(path) as stream:
        if passing_over:
            pass_over_page_cache(stream)
        stream.seek(2 * SEGMENT)
        with pytest.raises(StorageError, match="shorter"):
            read_fully(stream, memory)


@pytest.mark.parametrize("number", [errno.EIO, errno.EINVAL])
def test_an_error_of_the_disk_is_told(path: Path, memory: memoryview, number: int) -> None:
    class Failing(FileIO):
        def readinto(self, _buffer: object, /) -> int:
            raise OSError(number, os.strerror(number))

    with Failing(path) as stream:
        pass_over_page_cache(stream)
        with pytest.raises(StorageError, match=os.strerror(number)):
            read_fully(stream, memory)
