"""The parser of the whole command line."""

import argparse
import os
from collections.abc import Sequence

import protocol
from client.commands import (
    batch,
    completion,
    get,
    listing,
    naming,
    put,
    receipts,
    registering,
    removing,
    trust,
)
from client.commands.options import DEFAULTS, common
from client.errors import ExitStatus

PROGRAM = "eft-client"

_DESCRIPTION = """\
Send files to a server of the Encrypted File Transfer System, and fetch them back. A file has been
sent when the server has verified it, stored it durably and signed a receipt.

  eft-client register alice --server files.example.org:1234
  eft-client put report.txt photos --to 2026/november
  eft-client ls -l 2026/
  eft-client get 2026/november/report.txt .

Without a command it does what transfer.info in the directory says: line 1 is the address of the
server, line 2 the name of this client, every further line the path of a file to send. The first
run registers the name; identity and receipts are kept in that directory."""

_EPILOG = """\
environment:
  EFT_SERVER  address of the server
  EFT_TOKEN   registration token

`eft-client COMMAND --help` tells more about a command, `eft-client --protocol 3 --help` about runs
over protocol 3. A path that begins with "-" is written "./-path", or behind "--".

exit status:
""" + "\n".join(f"  {status.value:<8}{status.meaning}" for status in ExitStatus)

COMMANDS = frozenset(
    "put get ls stat rm mv register whoami receipts trust completion".split()  # noqa: SIM905
)
_MODULES = (put, get, listing, removing, naming, registering, receipts, trust, completion)


def make_parser() -> argparse.ArgumentParser:
    """Every command and its options; the namespace has the command's `run`."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [OPTION...] [COMMAND ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common()],
        # `--token` is not to mean `--token-file`: somebody would write the token behind it.
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {protocol.__version__}")
    batch.add(parser)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", prog=PROGRAM
    )
    for module in _MODULES:
        module.add(commands)
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; exits when they are wrong, or ask for help, or for a shell's completion."""
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)
    return parser.parse_args(argv, argparse.Namespace(**DEFAULTS, run=batch.run))
