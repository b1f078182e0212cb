"""`get`: fetches files."""

import sys
from collections.abc import Iterator
from pathlib import Path

from client.commands.fetching import Wanted, fetch_all
from client.commands.names import checked_name, checked_prefix, files_of, no_such, told_of_directory
from client.commands.options import Subparsers, add_limit_rate, add_overwrite, command
from client.commands.remote import Remote
from client.commands.running import Context
from client.errors import BadInput, FileFailed, FileUnusable, NotFound, NotWritten
from protocol.errors import UnsafeName
from protocol.names import check_path

_DESCRIPTION = """\
Fetch files from the server. With one NAME it goes to TARGET, a path or a directory (default: the
current one); with several, TARGET comes last and is a directory. - as TARGET is standard output.
Times and permissions are those that the files were sent with. A file is there under its name only
when it is complete and verified; a transfer that was interrupted goes on where it stopped. Once a
disk is full, nothing more is tried there.

With --recursive the arguments are directories: `get -r photos DIR` makes DIR/photos/...,
`get -r photos/ DIR` puts what is in it straight into DIR, `get -r / DIR` fetches everything.
Nothing is ever written outside DIR, whatever the server says.

  eft-client get 2026/november/report.txt .
  eft-client get -r 2026/ backup --overwrite if-newer
  eft-client get etc.tar - | tar t"""


def add(commands: Subparsers) -> None:
    """Adds `get`."""
    parser = command(commands, "get", "fetch files from the server", _DESCRIPTION)
    parser.usage = "%(prog)s [OPTION...] NAME... [TARGET]"
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="file (directory with -r); the last of several is TARGET",
    )
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="fetch every file below NAME/"
    )
    add_overwrite(parser, "here")
    add_limit_rate(parser)
    parser.set_defaults(run=run)


def run(context: Context) -> None:
    """Fetches; raises `BadInput` for arguments that contradict."""
    arguments = context.arguments
    *names, target = arguments.names if len(arguments.names) > 1 else (*arguments.names, ".")
    check = checked_prefix if arguments.recursive else checked_name
    for name in names:
        check(name, "NAME")
    if target == "-":
        _to_stdout(context, names)
        return
    with context.open(limit_rate=arguments.limit_rate) as remote:
        if arguments.recursive:
            wanted = list(_below(context, remote, names, Path(target)))
        else:
            wanted = list(_single(context, remote, names, target))
        _check_distinct(wanted)
        fetch_all(context, remote, wanted)


def _to_stdout(context: Context, names: list[str]) -> None:
    arguments = context.arguments
    if arguments.recursive or arguments.json_lines:
        raise BadInput("-", "standard output takes neither -r nor --json", "name a directory")
    with context.open(limit_rate=arguments.limit_rate) as remote:
        for name in names:
            try:
                for piece in remote.read(name):
                    _write(piece)
            except NotFound as error:
                remedy = "standard output takes files"
                raise told_of_directory(remote, name, error, remedy) from error


def _write(piece: bytes) -> None:
    if sys.stdout is None:  # closed by whoever started this process, as with `>&-`
        raise NotWritten("standard output is closed")
    try:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except OSError as error:
        from client.report import write_nowhere

        write_nowhere()
        raise NotWritten(f"standard output takes no more: {error.strerror}") from error


def _single(context: Context, remote: Remote, names: list[str], target: str) -> Iterator[Wanted]:
    into = target.endswith("/") or _is_directory(target)
    if len(names) > 1 and not into:
        raise BadInput("TARGET", f"{target!r} is no directory", "the last argument must be one")
    for name in names:
        local = Path(target, name.rpartition("/")[2]) if into else Path(target)
        try:
            entry = remote.stat(name)
        except FileFailed as error:
            told = told_of_directory(remote, name, error, "give --recursive to fetch what is in it")
            context.output.failed(str(local), name, told)
        else:
            yield Wanted(entry, local, Path(target) if into else None)


def _is_directory(target: str) -> bool:
    try:
        return Path(target).is_dir()
    except OSError as error:
        cause = error.strerror or str(error)
        raise BadInput("TARGET", f"{target!r}: {cause}", "name another one") from error


def _below(context: Context, remote: Remote, names: list[str], root: Path) -> Iterator[Wanted]:
    for name in names:
        prefix = checked_prefix(name, "NAME")
        # As in `put`: without a final slash the directory itself comes along.
        kept = len(prefix) if name.endswith("/") else prefix[:-1].rfind("/") + 1
        found = False
        for entry in files_of(remote, name):
            found = True
            try:
                check_path(entry.name)
                check_path(entry.name[kept:])
            except UnsafeName as error:
                context.output.failed(None, entry.name, FileUnusable(str(error)))
            else:
                yield Wanted(entry, root.joinpath(*entry.name[kept:].split("/")), root)
        if not found:
            context.output.failed(None, name, no_such(name))


def _check_distinct(wanted: list[Wanted]) -> None:
    seen: dict[Path, str] = {}
    for one in wanted:
        earlier = seen.setdefault(one.local, one.entry.name)
        if earlier != one.entry.name:
            raise BadInput(
                "NAME",
                f"{one.entry.name!r} and {earlier!r} would both become {str(one.local)!r}",
                "fetch one of them to another TARGET",
            )
