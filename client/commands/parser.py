"""The parser of the whole command line."""

import argparse
import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import Any, NoReturn

import protocol
from client.commands.options import DEFAULTS, SILENT, common
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

_MODULES = {
    "put": "put",
    "get": "get",
    "ls": "listing",
    "stat": "listing",
    "rm": "removing",
    "mv": "naming",
    "register": "registering",
    "whoami": "registering",
    "receipts": "receipts",
    "trust": "trust",
    "completion": "completion",
}
COMMANDS = frozenset(_MODULES)


class _TooNarrow(Exception):
    """There is something to tell that only the whole parser knows."""


class _NarrowParser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - those of the base
        super().__init__(**options | {"formatter_class": SILENT})

    def error(self, _message: str) -> NoReturn:
        raise _TooNarrow

    def print_help(self, _file: object = None) -> None:
        raise _TooNarrow


def make_parser() -> argparse.ArgumentParser:
    """Every command and its options; the namespace has the command's `run`."""
    from client.commands import batch

    parser = _top(argparse.ArgumentParser)
    parser.set_defaults(run=batch.run)
    batch.add(parser)
    _add_commands(parser, _MODULES.values())
    return parser


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; exits when they are wrong, or ask for help, or for a shell's completion."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(make_parser())
    return _parse_narrowly(argv) or make_parser().parse_args(argv, _defaults())


def _parse_narrowly(argv: Sequence[str]) -> argparse.Namespace | None:
    # Making the parsers of all commands takes longer than the handshake with the server.
    modules = [_MODULES[word] for word in argv if word in _MODULES]
    if not modules:
        return None
    parser = _top(_NarrowParser)
    _add_commands(parser, modules)
    try:
        arguments = parser.parse_args(argv, _defaults())
    except _TooNarrow:
        return None
    return arguments if arguments.command else None


def _defaults() -> argparse.Namespace:
    return argparse.Namespace(**DEFAULTS)


def _top(kind: type[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    parser = kind(
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
    return parser


def _add_commands(parser: argparse.ArgumentParser, modules: Iterable[str]) -> None:
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="command", prog=PROGRAM
    )
    for module in dict.fromkeys(modules):
        import_module(f"client.commands.{module}").add(commands)
