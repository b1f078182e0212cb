"""No command: the run that transfer.info describes, over protocol 4."""

import argparse
import stat
from pathlib import Path

from client.commands.options import add_token_file
from client.commands.remote import Remote
from client.commands.running import Context
from client.errors import BadInput, FileUnusable, NotRegistered
from client.identity import ME_INFO
from client.transfer_info import Line
from client.walking import Found
from protocol.errors import UnsafeName
from protocol.names import check_path


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the run without a command."""
    group = parser.add_argument_group("without a command")
    group.add_argument("--name", help="client name, instead of line 2 of transfer.info")
    add_token_file(group)
    group.add_argument(
        "--protocol",
        choices=("3", "4"),
        default="4",
        help="4, or the older 3, which does not prove that the server is the right one and lets"
        " whoever is on the way read names and alter contents (default: %(default)s)",
    )


def run(context: Context) -> None:
    """Registers where needed, and sends the files; all state is kept beside transfer.info."""
    from client.commands.sending import Sending, check_distinct, tell_totals
    from client.plan import make_plan
    from protocol.requests4 import Policy

    arguments = context.arguments
    directory = arguments.directory or Path()
    arguments.directory = directory
    plan = make_plan(directory, server=arguments.server, name=arguments.name)
    found = [
        checked
        for file in plan.files
        if (checked := _checked(context, file.shown, file.path, file.origin)) is not None
    ]
    check_distinct(found, "names are without directories here: leave one of them out")
    with context.open(str(plan.server)) as remote:
        _introduce(context, remote, plan.name)
        Sending(context, found, Policy.ALWAYS).run(remote)
    if context.output.verbose:
        tell_totals(context, "stored")


def _checked(context: Context, shown: str, path: Path, origin: str) -> Found | None:
    """The file under its base name, as in protocol 3; None, reported, when it cannot be sent."""
    cause: str
    try:
        status = path.stat()
        check_path(path.name)
    except OSError as error:
        cause = error.strerror or str(error)
    except (UnsafeName, ValueError) as error:
        cause = str(error)
    else:
        if stat.S_ISREG(status.st_mode):
            return Found(path, path.name, status.st_size)
        cause = "not a regular file"
    context.output.failed(shown, None, FileUnusable(f"{origin}: {shown!r}: {cause}"))
    return None


def _introduce(context: Context, remote: Remote, name: Line | None) -> None:
    try:
        known = remote.whoami().name
    except NotRegistered:
        from client.commands.registering import token_of

        if name is None:
            raise
        if (context.arguments.directory / ME_INFO).exists():
            context.output.note(
                f"{ME_INFO} holds an identity of protocol 3, which protocol 4 has no use for:"
                " registering anew; --protocol 3 goes on with the old one"
            )
        remote.register(name.text, token_of(context.arguments))
        context.output.step(f"registered as {name.text!r}")
        return
    if name is not None and name.text != known:
        raise BadInput(
            name.origin,
            f"says {name.text!r}, but this client is registered as {known!r}",
            "make them agree, or use another directory for another client",
        )
