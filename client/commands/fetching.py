"""Files on their way from a server, one after the other."""

import errno
import os
import stat
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from client.commands.output import Outcome, Row, amount, files, printable
from client.commands.remote import Progress, Remote
from client.commands.running import Context
from client.commands.sending import tell_totals
from client.errors import FileFailed, FileUnusable, NotWritten
from client.progress import Display
from protocol.responses4 import Entry

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

_Mount = tuple[int, bool] | None
"""Its device, and whether nothing can be written there; None where no directory tells."""


class Wanted(NamedTuple):
    """A file of the server, and where it goes; `root` is the directory that it must not leave."""

    entry: Entry
    local: Path
    root: Path | None


def fetch_all(context: Context, remote: Remote, wanted: Sequence[Wanted]) -> None:
    """Fetches the files; reports every one of them, also when it raises `ClientError`.

    A file that fails does not keep the others from being fetched. But where there is no room for
    one, those that go to the same mount are not tried, and it raises `NotWritten`.
    """
    output = context.output
    display = Display(
        sys.stderr,
        quiet=output.quiet or output.json_lines,
        files=len(wanted),
        total=sum(one.entry.size for one in wanted),
        action="fetching",
    )
    left = {one.local: one for one in wanted}
    try:
        with display:
            output.aside = display.aside
            _fetch_in_turn(context, remote, left, display)
    finally:
        for one in left.values():
            output.file(Row(str(one.local), one.entry.name, Outcome.UNSENT))
    tell_totals(context, "fetched")


def _fetch_in_turn(
    context: Context, remote: Remote, left: dict[Path, Wanted], display: Display
) -> None:
    """Fetches them, and takes out each whose fate is known."""
    output = context.output
    full: set[_Mount] = set()
    for one in list(left.values()):
        if full and _mount(one.local) in full:
            continue
        name, local = one.entry.name, str(one.local)
        try:
            row = _fetch(context, remote, one, partial(display.advance, name))
        except (FileFailed, NotWritten) as error:
            del left[one.local]
            if _is_no_room(error):
                full.add(_mount(one.local))
                if all(_mount(other) in full for other in left):
                    output.file(Row(local, name, Outcome.FAILED, error=str(error)))
                    raise _stopped(error, len(left)) from error
            output.failed(local, name, error)
        else:
            del left[one.local]
            output.file(row)
            _tell(context, row)
        display.finish(name, one.entry.size)
    if full:
        raise NotWritten(f"there was no room for all; {files(len(left))} left to fetch")


def _fetch(context: Context, remote: Remote, one: Wanted, progress: Progress) -> Row:
    name, local = one.entry.name, str(one.local)
    began = time.monotonic()
    try:
        if not _is_due(one, context.arguments.overwrite):
            return Row(local, name, Outcome.SKIPPED)
        _make_room(one)
        entry = remote.get(name, one.local, progress=progress, size=one.entry.size)
    except OSError as error:
        cause = error.strerror or str(error)
        raise FileUnusable(f"{local!r} cannot be written: {cause}") from error
    digest = entry.sha256.hex() if entry.sha256 else None
    seconds = round(time.monotonic() - began, 3)
    return Row(local, name, Outcome.VERIFIED, entry.size, digest, seconds)


def _tell(context: Context, row: Row) -> None:
    local = printable(row.file or "")
    if row.outcome is Outcome.SKIPPED:
        context.output.step(f"{local}: is there already, skipped")
    else:
        size = amount(row.size or 0)
        context.output.step(f"{local}: {size}, SHA-256 {row.sha256}, fetched")


def _is_due(one: Wanted, overwrite: str) -> bool:
    """Whether to fetch it; raises `FileUnusable` where a file must not take the place."""
    try:
        status = os.lstat(one.local)
    except (FileNotFoundError, NotADirectoryError):
        return True
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        raise FileUnusable(f"{str(one.local)!r} is there and not a file")
    if overwrite == "if-newer":
        return one.entry.modified > status.st_mtime_ns
    return overwrite == "always"


def _make_room(one: Wanted) -> None:
    """Makes the directories for it; raises `FileUnusable` when a link leads out of the root."""
    parent = one.local.parent
    if one.root is not None:
        root = one.root.resolve()
        if not parent.resolve().is_relative_to(root):
            raise FileUnusable(f"{str(parent)!r} leads out of {str(one.root)!r} by a link")
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise FileUnusable(
                f"{str(one.local)!r} needs a directory where there is a file"
            ) from error


def _is_no_room(error: Exception) -> bool:
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in _NO_ROOM


def _mount(path: Path) -> _Mount:
    """What is full when the path cannot be written for want of room.

    It is that of the nearest directory that is there. One device may be mounted twice, and
    read-only but once.
    """
    for directory in path.parents:
        try:
            device = directory.stat().st_dev
            return device, bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
        except OSError:  # not there, or in a directory that may not be searched
            continue
    return None


def _stopped(error: Exception, left: int) -> NotWritten:
    rest = f"; stopped with {files(left)} left to fetch" if left else ""
    return NotWritten(f"{error}{rest}")
