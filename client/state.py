"""Where a client keeps what it knows: servers, identities, receipts, unfinished uploads.

Several processes may use it at once: files are replaced whole, and whatever is read, changed and
written again is so under a lock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from client.errors import BadState, NotWritten
from client.private_files import READABLE_BY_OTHERS, is_open

_LARGEST_BYTES = 16 << 20


class Places(NamedTuple):
    """The two directories of the state: what is configured, and what accumulates."""

    config: Path
    data: Path

    @classmethod
    def of(cls, directory: Path | None) -> "Places":
        """Both in `directory`, or where this system keeps such things for this user."""
        if directory is not None:
            return cls(directory, directory)
        from platformdirs import PlatformDirs

        directories = PlatformDirs("eft", appauthor=False)
        return cls(Path(directories.user_config_dir), Path(directories.user_data_dir))

    @property
    def known_servers(self) -> Path:
        return self.config / "known_servers"

    @property
    def identities(self) -> Path:
        return self.config / "identities"

    @property
    def receipts(self) -> Path:
        return self.data / "receipts"

    @property
    def uploads(self) -> Path:
        return self.data / "uploads"


def read_text(path: Path, refused_modes: int = 0) -> str | None:
    """The text in a file of the state, None without the file; raises `BadState`.

    So it does when others may use the file in one of the ways in `refused_modes`.
    """
    try:
        with path.open("rb") as file:
            if is_open(os.fstat(file.fileno()), refused_modes):
                raise _too_open(path, refused_modes)
            data = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadState(str(path), error.strerror or "unreadable", "make it readable") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadState(str(path), "not UTF-8 text", "restore it from a copy") from error
    if len(data) > _LARGEST_BYTES:
        raise BadState(str(path), "too large", "restore it from a copy")
    return text


def _too_open(path: Path, modes: int) -> BadState:
    import shlex

    able = "read" if modes == READABLE_BY_OTHERS else "change"
    remedy = f"chmod 600 {shlex.quote(str(path))}"
    return BadState(str(path), f"its mode lets others {able} it", remedy)


def make_private_directory(directory: Path) -> None:
    """Makes sure that it is there, for its owner only where it was not; raises `NotWritten`."""
    with writing(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an `OSError` into `NotWritten`."""
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error)
        raise NotWritten(f"{str(path)!r} cannot be written: {cause}") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keeps other processes out of what `path` guards; waits for them. Raises `NotWritten`."""
    make_private_directory(path.parent)
    with writing(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with writing(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
