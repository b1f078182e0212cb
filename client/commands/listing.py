"""`ls` and `stat`: what the server has."""

from collections.abc import Iterator
from datetime import UTC, datetime
from stat import S_IFREG, filemode
from typing import Any

from client.commands.names import checked_name, told_of_directory
from client.commands.options import Subparsers, command
from client.commands.output import printable, table
from client.commands.remote import Remote
from client.commands.running import Context
from client.errors import FileFailed, NotFound
from protocol.responses4 import Entry

_LS = """\
List files on the server by name. A NAME is a file, or a directory whose files are listed; without
any, all files are. With --long: permissions, size in bytes, time of modification, the beginning of
the SHA-256 digest, name."""
_STAT = """\
Show all that the server knows of files: size, times, permissions, digests, upload."""

_NANOSECONDS = 10**9
_DIGEST_CHARACTERS = 12


def add(commands: Subparsers) -> None:
    """Adds `ls` and `stat`."""
    parser = command(commands, "ls", "list files on the server", _LS)
    parser.add_argument("names", nargs="*", metavar="NAME", help="file or directory")
    parser.add_argument("-l", "--long", action="store_true", help="tell more than names")
    parser.set_defaults(run=run_ls)
    parser = command(commands, "stat", "show all that the server knows of a file", _STAT)
    parser.add_argument("names", nargs="+", metavar="NAME", help="file")
    parser.set_defaults(run=run_stat)


def run_ls(context: Context) -> None:
    """Lists."""
    arguments, output = context.arguments, context.output
    with context.open() as remote:
        for name in arguments.names or [""]:
            found = False
            for entry in _below(remote, name):
                found = True
                output.result(entry_fields(entry), _line(entry, long=arguments.long))
            if name and not found:
                output.failed(None, name, NotFound(f"{printable(name)!r}: no such file"))


def run_stat(context: Context) -> None:
    """Shows entries."""
    output = context.output
    names = [checked_name(name, "NAME") for name in context.arguments.names]
    with context.open() as remote:
        for name in names:
            try:
                fields = entry_fields(remote.stat(name))
            except FileFailed as error:
                told = told_of_directory(remote, name, error, "`ls` shows what is in it")
                output.failed(None, name, told)
            else:
                output.result(fields, table(fields))


def entry_fields(entry: Entry) -> dict[str, Any]:
    """What there is to tell of a file, with times in ISO 8601 (UTC)."""
    return {
        "name": entry.name,
        "size": entry.size,
        "modified": iso_time(entry.modified),
        "received": iso_time(entry.received * _NANOSECONDS),
        "mode": f"{entry.mode:04o}",
        "sha256": entry.sha256.hex() if entry.sha256 else None,
        "cksum": entry.cksum,
        "upload_id": entry.upload_id.hex(),
    }


def iso_time(nanoseconds: int) -> str | None:
    """Nanoseconds since 1970 as a time in UTC, None outside the years that have four digits."""
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    try:
        text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return None
    return f"{text}.{rest:09}Z" if rest else f"{text}Z"


def _below(remote: Remote, name: str) -> Iterator[Entry]:
    if name.endswith("/") or not name:
        yield from remote.list("" if name == "/" else name)
        return
    for entry in remote.list(name):
        # `list` compares the beginnings of names: "a" is also one of "ab/c".
        if entry.name == name or entry.name.startswith(f"{name}/"):
            yield entry


def _line(entry: Entry, *, long: bool) -> str:
    name = printable(entry.name)
    if not long:
        return name
    digest = entry.sha256.hex()[:_DIGEST_CHARACTERS] if entry.sha256 else "-"
    return (
        f"{filemode(S_IFREG | entry.mode)} {entry.size:>13} {_local_time(entry.modified):19}"
        f" {digest:<{_DIGEST_CHARACTERS}} {name}"
    )


def _local_time(nanoseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(nanoseconds // _NANOSECONDS, UTC).astimezone()
    except (ValueError, OverflowError, OSError):
        return "?"
    return moment.strftime("%Y-%m-%d %H:%M:%S")
