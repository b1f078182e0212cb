"""What is sent: random content, so that nobody's compression helps; and comparing what arrived."""

import filecmp
import os
from collections.abc import Mapping
from pathlib import Path

from benchmarks.errors import RunFailed
from benchmarks.sizes import MIB

FILES_PER_DIRECTORY = 1000


def make_file(path: Path, size: int) -> Path:
    """A file of `size` bytes, no two MiB of which are equal; synced, and in the page cache."""
    block = os.urandom(min(size, MIB))
    with path.open("wb") as stream:
        for index in range(size // MIB):
            stream.write(index.to_bytes(8, "little") + block[8:])
        stream.write(block[: size % MIB])
        stream.flush()
        os.fsync(stream.fileno())
    return path


def make_sparse_file(path: Path, size: int) -> Path:
    """A file of `size` zeros that takes no room on the disk."""
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def make_directory(path: Path, files: int, size: int) -> Path:
    """A directory with so many files of `size` bytes each, a thousand in a subdirectory."""
    for number in range(files):
        directory = path / f"{number // FILES_PER_DIRECTORY:03}"
        if number % FILES_PER_DIRECTORY == 0:
            directory.mkdir(parents=True)
        (directory / f"{number:06}").write_bytes(os.urandom(size))
    return path


def read_again(source: Path) -> None:
    """Reads a file, or all files of a directory, so that they are in the page cache."""
    buffer = bytearray(MIB)
    for path in [source] if source.is_file() else source.rglob("*"):
        if path.is_file():
            with path.open("rb", buffering=0) as stream:
                while stream.readinto(buffer):
                    pass


def expect_copy(source: Path, copy: Path) -> None:
    """Raises `RunFailed` unless both have the same bytes."""
    if not copy.is_file():
        raise RunFailed(f"{copy.name} did not arrive")
    if copy.stat().st_size != source.stat().st_size:
        raise RunFailed(f"{copy.stat().st_size} of {source.stat().st_size} bytes arrived")
    if not filecmp.cmp(source, copy, shallow=False):
        raise RunFailed(f"{copy.name} arrived with other bytes")


def expect_files(sources: Mapping[str, Path], stored: Mapping[str, Path]) -> None:
    """Raises `RunFailed` unless exactly these names are stored, each with its source's bytes."""
    if sources.keys() != stored.keys():
        lacking, more = len(sources.keys() - stored.keys()), len(stored.keys() - sources.keys())
        raise RunFailed(f"{lacking} files did not arrive, {more} arrived that were not sent")
    for name, source in sources.items():
        expect_copy(source, stored[name])


def files_of(directory: Path) -> dict[str, Path]:
    """Every file in a directory by its name below it."""
    return {
        str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()
    }
