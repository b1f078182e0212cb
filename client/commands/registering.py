"""`register` and `whoami`: the identity of this client at a server."""

import argparse
import os

from client.commands.asking import ask_secret
from client.commands.options import Subparsers, add_token_file, command
from client.commands.output import table
from client.commands.running import Context
from client.errors import AccessDenied, BadInput, TooManyAttempts
from client.state import read_text

_REGISTER = """\
Register with a server under a name: makes a key pair, tells the server the public key, keeps the
private one. The operator of the server gives out registration tokens unless it registers
anybody. The token comes from --token-file, from EFT_TOKEN, or is asked for on the terminal; it is
never an argument, which everybody on this machine could read."""
_WHOAMI = """\
Connect, and show the name and id of this client at the server."""


def add(commands: Subparsers) -> None:
    """Adds `register` and `whoami`."""
    parser = command(commands, "register", "register with a server under a name", _REGISTER)
    parser.add_argument("name", metavar="NAME", help="name of this client at the server")
    add_token_file(parser)
    parser.set_defaults(run=run_register)
    parser = command(commands, "whoami", "show the name of this client at the server", _WHOAMI)
    parser.set_defaults(run=run_whoami)


def run_register(context: Context) -> None:
    """Registers."""
    from protocol.errors import UnsafeName
    from protocol.names import check_client_name

    name = context.arguments.name
    try:
        check_client_name(name)
    except UnsafeName as error:
        raise BadInput("NAME", str(error), "choose another one") from error
    token = token_of(context.arguments)
    with context.open() as remote:
        try:
            client_id = remote.register(name, token)
        except TooManyAttempts:
            raise
        except AccessDenied as error:
            raise AccessDenied(_refused(token)) from error
    context.output.object({"name": name, "client_id": client_id.hex()})
    context.output.note(f"registered as {name!r}, id {client_id.hex()}")


def _refused(token: str) -> str:
    # The server does not tell which it is, so that nobody can try tokens out.
    if not token:
        return (
            "the server did not register this client: it wants a token, or registers nobody; give"
            " the one that its operator hands out, by --token-file or EFT_TOKEN"
        )
    return (
        "the server did not register this client: the token is wrong, used up, expired or for"
        " another name, or registration is closed; ask its operator for a token"
    )


def run_whoami(context: Context) -> None:
    """Shows name and id."""
    with context.open() as remote:
        me = remote.whoami()
    fields = {
        "name": me.name,
        "client_id": me.client_id.hex(),
        "server": me.server,
        "fingerprint": me.fingerprint,
    }
    context.output.result(fields, table(fields))


def token_of(arguments: argparse.Namespace) -> str:
    """The registration token, empty where nobody gives one; raises `BadInput`."""
    if arguments.token_file is not None:
        text = read_text(arguments.token_file)
        if text is None:
            raise BadInput("--token-file", "no such file", "name the file with the token")
        return text.strip()
    if "EFT_TOKEN" in os.environ:
        return os.environ["EFT_TOKEN"].strip()
    return ask_secret("Registration token (empty if the server registers anybody): ") or ""
