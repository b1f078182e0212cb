"""`trust`: the servers that are known, and by which certificate."""

import argparse
from typing import TYPE_CHECKING

from client.commands.options import Subparsers, command
from client.commands.running import Context
from client.errors import BadInput

if TYPE_CHECKING:
    from client.known_servers import KnownServers

_DESCRIPTION = """\
The servers that this client knows, and the fingerprints of their certificates. A server becomes
known when somebody answers yes to the question that comes up at the first connection, by
--fingerprint, by a certificate authority, or by `trust add`. When it later shows another
certificate, no command sends anything to it.

Compare fingerprints on another way than the connection itself: the server's operator sees the
right one in the server's log."""


def add(commands: Subparsers) -> None:
    """Adds `trust list|add|remove`."""
    parser = command(commands, "trust", "list, add or remove known servers", _DESCRIPTION)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    command(actions, "list", "show the known servers and their fingerprints").set_defaults(
        run=run_list
    )
    adding = command(actions, "add", "trust a server with this fingerprint from now on")
    adding.add_argument("address", metavar="HOST:PORT")
    adding.add_argument("trusted", metavar="SHA256:...", help="instead of the known one, if any")
    adding.set_defaults(run=run_add)
    removing = command(actions, "remove", "forget a server: the next connection asks again")
    removing.add_argument("address", metavar="HOST:PORT")
    removing.set_defaults(run=run_remove)


def run_list(context: Context) -> None:
    """Shows the known servers."""
    for server in _known(context.arguments).all():
        shown = server.shown_fingerprint
        context.output.result(
            {"server": server.server, "fingerprint": shown}, f"{server.server} {shown}"
        )


def run_add(context: Context) -> None:
    """Makes a server known, or known by another certificate."""
    from client.address import parse_address
    from protocol.channel import parse_fingerprint

    arguments = context.arguments
    address = parse_address(arguments.address, "HOST:PORT")
    try:
        fingerprint = parse_fingerprint(arguments.trusted)
    except ValueError as error:
        raise BadInput(
            "SHA256:...", f"{arguments.trusted!r} is no fingerprint", "copy it whole"
        ) from error
    _known(arguments).trust(address, fingerprint)


def run_remove(context: Context) -> None:
    """Forgets a server; raises `BadInput` when it is not known."""
    from client.address import parse_address

    address = parse_address(context.arguments.address, "HOST:PORT")
    if not _known(context.arguments).forget(address):
        raise BadInput("HOST:PORT", f"{address} is not known", "see `trust list`")


def _known(arguments: argparse.Namespace) -> "KnownServers":
    from client.known_servers import KnownServers
    from client.state import Places

    return KnownServers(Places.of(arguments.directory).known_servers)
