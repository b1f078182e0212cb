"""Writing files that hold a private key: whole or not at all, and for their owner only."""

import errno
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

READABLE_BY_OTHERS = 0o077
WRITABLE_BY_OTHERS = 0o022

_NO_HARD_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS))


def write_private(path: Path, data: bytes) -> None:
    """Makes `data` the content of `path`, with mode 0600, durably.

    At every moment `path` holds either what it held before or all of `data`. What a process killed
    in here has left behind, the next one removes; two must not write at the same time. Raises
    `OSError`.
    """
    import tempfile  # brings in a dozen modules, and most runs write nothing here

    prefix = f".{path.name}.unfinished-"
    _remove_leftovers(path.parent, prefix)
    # mkstemp creates with mode 0600: the key is at no time readable for others.
    descriptor, temporary = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:  # the interrupt key too: a half-written key must not lie about
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _remove_leftovers(directory: Path, prefix: str) -> None:
    for path in directory.iterdir():
        if path.name.startswith(prefix):
            path.unlink(missing_ok=True)


def is_open(status: os.stat_result, modes: int = READABLE_BY_OTHERS) -> bool:
    """Whether others may use the file in one of the ways in `modes`, bits of a mode.

    As with ssh, what an administrator has made for the user may be open to its group.
    """
    if status.st_uid != os.geteuid():
        modes &= 0o007
    return bool(status.st_mode & modes)


def sync_directory(directory: Path) -> None:
    """Makes creations and renames in `directory` durable. Raises `OSError`."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_as_old(paths: Sequence[Path]) -> None:
    """Keeps the content of those of `paths` that exist, durably, beside them.

    All get the same suffix: `.old`, or the first of `.old.2`, `.old.3`, ... that none of them has
    in use. The files themselves stay. Raises `OSError`.
    """
    present = [path for path in paths if os.path.lexists(path)]
    for number in itertools.count(1):
        suffix = ".old" if number == 1 else f".old.{number}"
        if not any(os.path.lexists(f"{path}{suffix}") for path in paths):
            break
    for path in present:
        _duplicate(path, Path(f"{path}{suffix}"))
        sync_directory(path.parent)


def _duplicate(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        write_private(target, path.read_bytes())  # FAT and some network file systems
