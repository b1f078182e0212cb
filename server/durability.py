"""Making names durable: a rename survives a power cut only once its directory is synced."""

import ctypes
import os
import shutil
from pathlib import Path

_SYNCED_BY_SYNCFS = frozenset(
    (0xEF53, 0x58465342, 0x9123683E, 0xF2F52010)  # ext4, XFS, Btrfs, F2FS: statfs(2)
)


def make_directory(path: Path) -> None:
    """Makes a directory (0700) and those above it that are missing, each durable in its parent."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)
            sync_directory(directory.parent)


def write_private(path: Path, content: bytes) -> None:
    """Puts a file of mode 0600 in place, whole and durable or not at all; raises `OSError`."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
    sync_directory(path.parent)


def copy_durably(source: Path, copy: Path) -> None:
    """Copies a file to a name that it has once it is whole and its content durable, with mode 0600;
    the name itself is durable once its directory is synced. Raises `OSError`."""
    temporary = copy.with_name(f".{copy.name}.partial")
    temporary.unlink(missing_ok=True)
    with source.open("rb") as stream:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as copied:
            shutil.copyfileobj(stream, copied, 2**20)
            copied.flush()
            os.fsync(copied.fileno())
    temporary.rename(copy)


def sync_file_system(descriptor: int) -> bool:
    """Writes everything of the file system that `descriptor` is on to the disk (Linux, syncfs(2)).

    Use one descriptor for as long as writes must not fail unseen: what is reported is every failure
    since it was opened or last synced. Returns False where the system has no such call, does not
    report failures, which is before Linux 5.8, or where the file system may do nothing on it, as
    FUSE does; raises `OSError`.
    """
    library = ctypes.CDLL(None, use_errno=True)
    syncfs = getattr(library, "syncfs", None)
    if syncfs is None or _linux_version() < (5, 8) or not _syncs_as_a_whole(library, descriptor):
        return False
    if syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


def _syncs_as_a_whole(library: ctypes.CDLL, descriptor: int) -> bool:
    """Whether the file system is one that is known to; statfs(2) begins with its type, a long."""
    status = (ctypes.c_long * 64)()
    return not library.fstatfs(descriptor, status) and status[0] in _SYNCED_BY_SYNCFS


def _linux_version() -> tuple[int, ...]:
    numbers = os.uname().release.split("-")[0].split(".")[:2]
    return tuple(int(number) for number in numbers if number.isdecimal())


def sync_directory(path: Path) -> None:
    """Writes a directory's entries to the disk; raises `OSError` when that fails."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Writes a file's content to the disk; raises `OSError` when that fails."""
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
