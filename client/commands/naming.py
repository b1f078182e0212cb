"""`mv`: another name for a file on the server."""

from client.commands.names import checked_name, told_of_directory
from client.commands.options import Subparsers, command
from client.commands.output import Outcome, Row, printable
from client.commands.running import Context
from client.errors import Exists, NotFound

_DESCRIPTION = """\
Give a file on the server another name. A file that has the new name already is replaced only with
--force. Where NEW ends with /, it is a directory, and the file keeps the rest of its name."""


def add(commands: Subparsers) -> None:
    """Adds `mv`."""
    parser = command(commands, "mv", "rename a file on the server", _DESCRIPTION)
    parser.add_argument("old", metavar="OLD", help="file")
    parser.add_argument("new", metavar="NEW", help="its new name, or DIR/")
    parser.add_argument("-f", "--force", action="store_true", help="replace a file of that name")
    parser.set_defaults(run=run)


def run(context: Context) -> None:
    """Renames; raises `Exists` when there is a file of the new name, `NotFound` without one."""
    arguments = context.arguments
    old, new = checked_name(arguments.old, "OLD"), arguments.new
    if new.endswith("/"):
        new = new.lstrip("/") + old.rpartition("/")[2]
    new = checked_name(new, "NEW")
    with context.open() as remote:
        try:
            remote.rename(old, new, replace=arguments.force)
        except Exists as error:
            raise Exists(f"{error}; --force replaces it") from error
        except NotFound as error:
            raise told_of_directory(remote, old, error, "rename its files") from error
    context.output.file(Row(None, new, Outcome.RENAMED))
    context.output.step(f"{printable(old)} is {printable(new)} now")
