"""From a file to its ciphertext."""

import errno
import os
from contextlib import closing
from pathlib import Path

import pytest

from client.content import PIECE_BYTES, SealedContent, largest_file_bytes
from client.errors import FileChanged, FileUnusable
from client.opening import open_regular
from client.sealing import sealed_size
from protocol.cksum import Cksum
from protocol.generations import GENERATION_2023A, GENERATION_2024C
from protocol.messages3 import SendFile, SendPacket
from tests.client.scripted import SESSION_KEY, opened


def pieces_of(content: SealedContent) -> list[bytes]:
    with closing(content.pieces()) as pieces:
        return [bytes(piece) for piece in pieces]


@pytest.mark.parametrize(
    "size",
    [
        0,
        1,
        15,
        16,
        PIECE_BYTES - 17,
        PIECE_BYTES - 16,
        PIECE_BYTES - 1,
        PIECE_BYTES,
        PIECE_BYTES + 1,
        4 * PIECE_BYTES,
        9 * PIECE_BYTES + 5,
    ],
)
def test_the_pieces_are_the_ciphertext_and_the_checksum_that_of_the_file(
    tmp_path: Path, size: int
) -> None:
    plain = os.urandom(size)
    path = tmp_path / "f"
    path.write_bytes(plain)
    expected = Cksum()
    expected.update(plain)

    with SealedContent(path, SESSION_KEY) as content:
        pieces = pieces_of(content)

    assert {len(piece) for piece in pieces[:-1]} <= {PIECE_BYTES}
    assert 0 < len(pieces[-1]) <= PIECE_BYTES
    assert opened(b"".join(pieces)) == plain
    assert content.size == size
    assert content.sealed_size == sum(map(len, pieces))
    assert content.checksum == expected.value


@pytest.mark.parametrize("size", [10, 3 * PIECE_BYTES, 6 * PIECE_BYTES])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changes_its_size_is_not_passed_off_as_complete(
    tmp_path: Path, size: int, change: int
) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    sent: list[int] = []

    with SealedContent(path, SESSION_KEY) as content, closing(content.pieces()) as pieces:
        os.truncate(path, size + change)
        with pytest.raises(FileChanged, match=f"became .*, {size} bytes were announced"):
            sent.extend(len(piece) for piece in pieces)

    assert sum(sent) < sealed_size(size)


@pytest.mark.parametrize("readable", [b"", b"con", b"content"])
def test_a_file_that_becomes_unreadable_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, readable: bytes
) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"content")

    class BrokenDisk:
        def __init__(self) -> None:
            self._rest = readable

        def read(self, size: int) -> bytes:
            if not self._rest:
                raise OSError(errno.EIO, "Input/output error")
            data, self._rest = self._rest[:size], self._rest[size:]
            return data

        def readinto(self, buffer: memoryview) -> int:
            data = self.read(len(buffer))
            buffer[: len(data)] = data
            return len(data)

        def close(self) -> None:
            pass

    with SealedContent(path, SESSION_KEY) as content:
        content._file.close()
        monkeypatch.setattr(content, "_file", BrokenDisk())
        with pytest.raises(FileChanged, match="cannot be read any further: Input/output error"):
            pieces_of(content)


def test_missing_files_and_what_is_no_file_are_unusable(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(FileUnusable, match="No such file"):
        open_regular(tmp_path / "missing")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(FileUnusable, match="is not a regular file"):
            open_regular(path)


def test_the_largest_file_just_fits_one_message() -> None:
    largest = largest_file_bytes(GENERATION_2023A)
    message = SendFile(sealed_size(largest), "f")
    GENERATION_2023A.pack_request(bytes(16), message, sealed_size(largest))
    assert sealed_size(largest + 1) + SendFile.SIZE >= 1 << 32


def test_the_largest_file_just_fits_its_packets() -> None:
    largest = largest_file_bytes(GENERATION_2024C)
    packets = -(-sealed_size(largest) // PIECE_BYTES)
    SendPacket(sealed_size(largest), largest, packets, packets, "f").pack()
    assert sealed_size(largest + 1) >= 1 << 32
