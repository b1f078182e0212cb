"""`mv`: another name for a file on the server."""

from client.commands.names import checked_name
from client.commands.options import Subparsers, command
from client.commands.output import Outcome, Row
from client.commands.running import Context

_DESCRIPTION = """\
Give a file on the server another name. A file that has the new name already is replaced only with
--force."""


def add(commands: Subparsers) -> None:
    """Adds `mv`."""
    parser = command(commands, "mv", "rename a file on the server", _DESCRIPTION)
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW")
    parser.add_argument("-f", "--force", action="store_true", help="replace a file of that name")
    parser.set_defaults(run=run)


def run(context: Context) -> None:
    """Renames; raises `Exists` when there is a file of the new name, `NotFound` without one."""
    arguments = context.arguments
    old, new = checked_name(arguments.old, "OLD"), checked_name(arguments.new, "NEW")
    with context.open() as remote:
        remote.rename(old, new, replace=arguments.force)
    context.output.file(Row(None, new, Outcome.RENAMED))
    context.output.step(f"{old} is {new} now")
