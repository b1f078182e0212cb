"""Content, segment by segment, and again from the middle."""

import hashlib
import io
import os
from pathlib import Path

import pytest

from client.errors import FileChanged, FileUnusable, StreamLost
from client.reading import Content, FileContent, StreamContent, segments
from protocol.contexts import SEGMENT_BYTES

CONTENT = os.urandom(4 * SEGMENT_BYTES + 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def read(content: Content, offset: int = 0) -> bytes:
    data = b""
    for segment in segments(content, offset):
        assert segment.index * SEGMENT_BYTES == offset + len(data)
        data += segment.buffer[: segment.size]
        segment.buffer[:] = bytes(len(segment.buffer))  # whoever seals it overwrites it
    assert segment.final
    return data


def test_a_file_can_be_read_from_any_segment(path: Path) -> None:
    with FileContent(path) as content:
        for index in (0, 3, 1, 4):
            assert read(content, index * SEGMENT_BYTES) == CONTENT[index * SEGMENT_BYTES :]
            assert content.sha256() == hashlib.sha256(CONTENT).digest()
        assert content.finish() == len(CONTENT)
        assert content.sha256() == hashlib.sha256(CONTENT).digest()


def test_a_stream_can_go_back_a_little() -> None:
    content = StreamContent(io.BytesIO(CONTENT))
    plain = segments(content, 0)
    for _ in range(3):
        next(plain)
    plain.close()

    assert read(content, SEGMENT_BYTES) == CONTENT[SEGMENT_BYTES:]
    assert read(content, 4 * SEGMENT_BYTES) == CONTENT[4 * SEGMENT_BYTES :]
    assert content.sha256() == hashlib.sha256(CONTENT).digest()
    content.close()


def test_a_stream_cannot_go_back_far() -> None:
    content = StreamContent(io.BytesIO(bytes(20 * SEGMENT_BYTES)))
    assert content.finish() == 20 * SEGMENT_BYTES

    for index in (0, 3, 21):
        with pytest.raises(StreamLost):
            content.start(index * SEGMENT_BYTES)
    content.start(4 * SEGMENT_BYTES)


def test_the_sum_of_a_stream_is_known_after_it_was_cut() -> None:
    content = StreamContent(io.BytesIO(CONTENT))
    read(content)
    content.start(2 * SEGMENT_BYTES)

    assert content.finish() == len(CONTENT)
    assert content.sha256() == hashlib.sha256(CONTENT).digest()


def test_a_stream_that_gives_a_little_at_a_time_is_read_whole() -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 300_000))

    assert read(StreamContent(Slow(CONTENT))) == CONTENT


def test_a_stream_that_fails_is_unusable() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(FileUnusable, match="Input/output"):
        read(StreamContent(Failing()))


@pytest.mark.parametrize("size", [0, 5, SEGMENT_BYTES, 3 * SEGMENT_BYTES, len(CONTENT) - 1])
def test_a_file_that_shrinks_has_changed(path: Path, size: int) -> None:
    with FileContent(path) as content:
        os.truncate(path, size)
        with pytest.raises(FileChanged):
            read(content)
        with pytest.raises(FileChanged):
            read(content, 4 * SEGMENT_BYTES)


@pytest.mark.parametrize("size", [0, 5, SEGMENT_BYTES, 2 * SEGMENT_BYTES, 3 * SEGMENT_BYTES + 5])
def test_a_file_that_grows_has_changed(path: Path, size: int) -> None:
    os.truncate(path, size)
    with FileContent(path) as content:
        os.truncate(path, size + 1)
        with pytest.raises(FileChanged):
            read(content)


def test_a_file_that_is_written_to_in_place_has_changed(path: Path) -> None:
    with FileContent(path) as content:
        os.utime(path, ns=(1, 1))
        with pytest.raises(FileChanged):
            read(content)
        with pytest.raises(FileChanged):
            content.finish()
