"""What is sent, and the comparison with what arrived."""

import os
from pathlib import Path

import pytest

from benchmarks.errors import RunFailed
from benchmarks.sizes import MIB
from benchmarks.sources import (
    expect_copy,
    expect_files,
    files_of,
    make_directory,
    make_file,
    make_sparse_file,
)


@pytest.mark.parametrize("size", [0, 1, 1024, MIB, MIB + 1, 3 * MIB])
def test_a_source_has_its_size(tmp_path: Path, size: int) -> None:
    assert make_file(tmp_path / "file", size).stat().st_size == size


def test_no_two_pieces_of_a_source_are_equal(tmp_path: Path) -> None:
    content = make_file(tmp_path / "file", 3 * MIB).read_bytes()
    assert len({content[start : start + MIB] for start in range(0, len(content), MIB)}) == 3


def test_a_sparse_source_takes_no_room(tmp_path: Path) -> None:
    status = make_sparse_file(tmp_path / "file", 64 * MIB).stat()
    assert status.st_size == 64 * MIB
    assert status.st_blocks * 512 < MIB


def test_a_directory_has_so_many_files_of_that_size(tmp_path: Path) -> None:
    files = files_of(make_directory(tmp_path / "files", 1001, 10))
    assert len(files) == 1001
    assert {path.stat().st_size for path in files.values()} == {10}
    assert len({path.read_bytes() for path in files.values()}) > 1


def test_a_true_copy_is_accepted(tmp_path: Path) -> None:
    source = make_file(tmp_path / "source", 5000)
    (tmp_path / "copy").write_bytes(source.read_bytes())
    expect_copy(source, tmp_path / "copy")


def test_a_truncated_copy_is_found(tmp_path: Path) -> None:
    source = make_file(tmp_path / "source", 5000)
    (tmp_path / "copy").write_bytes(source.read_bytes()[:-1])
    with pytest.raises(RunFailed, match="4999 of 5000 bytes arrived"):
        expect_copy(source, tmp_path / "copy")


def test_one_other_bit_is_found_even_with_the_same_size_and_times(tmp_path: Path) -> None:
    source = make_file(tmp_path / "source", 5000)
    content = bytearray(source.read_bytes())
    content[-1] ^= 1
    copy = tmp_path / "copy"
    copy.write_bytes(content)
    status = source.stat()
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(RunFailed, match="other bytes"):
        expect_copy(source, copy)


def test_a_missing_copy_is_found(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="did not arrive"):
        expect_copy(make_file(tmp_path / "source", 1), tmp_path / "copy")


def test_missing_and_unexpected_files_are_found(tmp_path: Path) -> None:
    source = make_file(tmp_path / "source", 1)
    with pytest.raises(RunFailed, match="1 files did not arrive, 2 arrived that were not sent"):
        expect_files({"a": source, "b": source}, {"b": source, "c": source, "d": source})
    expect_files({"a": source}, {"a": source})
