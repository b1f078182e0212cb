"""From the paths on a command line to the files below them, and the names that they get.

Names follow rsync: `dir` gives `dir/...`, `dir/` gives what is in it without `dir`. Symbolic links
inside directories are not followed, so that a walk ends and never leaves what was named; a link
named on the command line is.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from protocol.errors import UnsafeName
from protocol.names import check_path


class Found(NamedTuple):
    """A file to send, the name that it gets, and its size in bytes when it was seen."""

    path: Path
    name: str
    size: int


class Skipped(NamedTuple):
    """Something that is not sent; `failed` when the user asked for it and cannot have it."""

    path: Path
    reason: str
    failed: bool


_Result = Found | Skipped


def walk(
    paths: Sequence[str], *, prefix: str = "", exclude: Sequence[str] = ()
) -> Iterator[Found | Skipped]:
    """Every file of `paths`, in the order given and sorted within a directory.

    `prefix` is the directory that the names begin with. `exclude` are patterns as of `fnmatch`,
    for a base name or for a path below what was named; one that ends with `/` is for directories
    only. What an excluded directory holds is not looked at.
    """
    patterns = tuple(exclude)
    start = prefix.strip("/")
    for text in paths:
        stripped = text.rstrip("/") or text
        base = os.path.basename(stripped)  # noqa: PTH119 - Path("a/.").name is "a"
        if text.endswith("/") or base in ("", ".", ".."):
            base = ""
        yield from _argument(text, base, start, patterns)


def _argument(text: str, base: str, start: str, patterns: tuple[str, ...]) -> Iterator[_Result]:
    if not text:  # in a script it comes from a variable that was not set
        yield Skipped(Path(), "an empty path", failed=True)
        return
    path = Path(text)
    try:
        # As written: with a final slash the system refuses what is no directory.
        status = os.stat(text)  # noqa: PTH116 - Path drops the slash
    except (OSError, ValueError) as error:
        yield Skipped(path, _cause(error), failed=True)
        return
    if stat.S_ISDIR(status.st_mode):
        if not (base and _excluded(base, base, patterns, directory=True)):
            yield from _directory(path, _joined(start, base), base, patterns)
    elif not _excluded(base, base, patterns, directory=False):
        result = _file(path, _joined(start, base), status)
        # Nobody names a pipe to have it passed over: `put <(command)` must not look like success.
        yield result._replace(failed=True) if isinstance(result, Skipped) else result


def _directory(
    path: Path, name: str, relative: str, patterns: tuple[str, ...]
) -> Iterator[_Result]:
    # A stack instead of recursion: directories may be nested deeper than Python's calls.
    stack = [(path, name, relative)]
    while stack:
        directory, name, relative = stack.pop()
        deeper = []
        try:
            with os.scandir(directory) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            yield Skipped(directory, _cause(error), failed=True)
            continue
        for entry in entries:
            below = _joined(relative, entry.name)
            is_directory = entry.is_dir(follow_symlinks=False)
            if _excluded(below, entry.name, patterns, directory=is_directory):
                continue
            if is_directory:
                deeper.append((directory / entry.name, _joined(name, entry.name), below))
            else:
                yield _entry(directory / entry.name, _joined(name, entry.name), entry)
        stack.extend(reversed(deeper))


def _entry(path: Path, name: str, entry: os.DirEntry[str]) -> _Result:
    if entry.is_symlink():
        return Skipped(path, "a symbolic link", failed=False)
    try:
        return _file(path, name, entry.stat(follow_symlinks=False))
    except OSError as error:
        return Skipped(path, _cause(error), failed=True)


def _file(path: Path, name: str, status: os.stat_result) -> _Result:
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path, "not a regular file", failed=False)
    try:
        check_path(name)
    except UnsafeName as error:
        return Skipped(path, f"{error}; rename it", failed=True)
    return Found(path, name, status.st_size)


def _excluded(relative: str, base: str, patterns: tuple[str, ...], *, directory: bool) -> bool:
    for pattern in patterns:
        plain = pattern.rstrip("/")
        if plain != pattern and not directory:
            continue
        if fnmatchcase(base, plain) or fnmatchcase(relative, plain):
            return True
    return False


def _joined(start: str, name: str) -> str:
    return f"{start}/{name}" if start and name else start or name


def _cause(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
