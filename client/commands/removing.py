"""`rm`: removes files from the server."""

from client.commands.asking import confirm
from client.commands.names import checked_name, checked_prefix, files_of, no_such, told_of_directory
from client.commands.options import Subparsers, command
from client.commands.output import Outcome, Row, files, printable
from client.commands.remote import Remote
from client.commands.running import Context
from client.errors import BadInput, FileFailed, NotFound

_DESCRIPTION = """\
Remove files from the server, for good. With --recursive the arguments are directories, and every
file below them is removed (/ means all files), after a question on the terminal or with --force.
A file of the same name goes as well, unless the name ends with a slash."""


def add(commands: Subparsers) -> None:
    """Adds `rm`."""
    parser = command(commands, "rm", "remove files from the server", _DESCRIPTION)
    parser.add_argument("names", nargs="+", metavar="NAME", help="file; directory with -r")
    parser.add_argument(
        "-r", "--recursive", action="store_true", help="remove every file below NAME/"
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="do not ask; a missing file is no failure"
    )
    parser.set_defaults(run=run)


def run(context: Context) -> None:
    """Removes; raises `BadInput` when nobody confirms what has to be confirmed."""
    arguments = context.arguments
    check = checked_prefix if arguments.recursive else checked_name
    checked = [check(name, "NAME") for name in arguments.names]
    with context.open() as remote:
        if not arguments.recursive:
            names = checked
        else:
            names = _below(context, remote)
            if names and not arguments.force:
                _confirm(len(names), arguments.names)
        for name in names:
            _remove(context, remote, name)


def _below(context: Context, remote: Remote) -> list[str]:
    found: set[str] = set()
    for name in context.arguments.names:
        below = {entry.name for entry in files_of(remote, name)}
        if not below and not context.arguments.force:
            context.output.failed(None, name, no_such(name))
        found |= below
    return sorted(found)


def _confirm(count: int, names: list[str]) -> None:
    if not confirm(f"Remove {files(count)} below {', '.join(map(printable, names))}"):
        raise BadInput("--recursive", "not confirmed, nothing was removed", "say yes, or --force")


def _remove(context: Context, remote: Remote, name: str) -> None:
    try:
        remote.remove(name)
    except FileFailed as error:
        told = told_of_directory(remote, name, error, "give --recursive to remove what is in it")
        if told is error and isinstance(error, NotFound) and context.arguments.force:
            return
        context.output.failed(None, name, told)
    else:
        context.output.file(Row(None, name, Outcome.REMOVED))
        context.output.step(f"{printable(name)}: removed")
