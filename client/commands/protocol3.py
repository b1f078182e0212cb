"""The run over protocol 3 that transfer.info describes: `python -m client --protocol 3`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import protocol
from client.commands.options import count, seconds
from client.errors import ExitStatus
from protocol.generations import GENERATION_2023A, GENERATIONS

_DESCRIPTION = """\
Send files over protocol 3, the published one of 2023 and 2024, to a server that speaks nothing
newer. It does not prove that the server is the right one, and whoever is on the way can read names
and alter contents: use it on one machine or a network that you trust.

Without further arguments it does what transfer.info in the directory says:

  line 1    address of the server, such as 192.0.2.7:1234 or [2001:db8::7]:1234
  line 2    name of this client, at most 100 characters
  line 3    path of the file to send; further files on further lines

The first run registers the name and stores me.info and priv.key, which hold the private key: keep
them, and keep them secret. Later runs use them. A file has been sent when the server has verified
and acknowledged it."""

_EPILOG = "exit status:\n" + "\n".join(
    f"  {status.value:<8}{status.meaning}" for status in ExitStatus
)


def run_protocol_3(argv: Sequence[str]) -> int:
    """Runs the client over protocol 3 with these arguments; the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if _is_command(arguments.files):
        # The other arguments would be sent, and not as the command has it.
        parser.error(f"{arguments.files[0]!r} is a command of protocol 4")
    from client.batch import Batch, Options
    from client.progress import progress_on
    from client.report import Report

    options = Options(
        directory=arguments.directory,
        generation=GENERATIONS[arguments.generation],
        server=arguments.server,
        name=arguments.name,
        files=tuple(arguments.files),
        timeout=arguments.timeout,
        retries=arguments.retries,
    )
    report = Report(
        verbose=arguments.verbose, quiet=arguments.quiet, json_lines=arguments.json_lines
    )
    progress = progress_on(sys.stderr, quiet=arguments.quiet or arguments.json_lines)
    return Batch(options, report, progress).run()


def _is_command(files: Sequence[str]) -> bool:
    if not files or Path(files[0]).exists():
        return False
    from client.commands.parser import COMMANDS

    return files[0] in COMMANDS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eft-client --protocol 3",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "files",
        nargs="*",
        metavar="FILE",
        help="file to send, instead of those that transfer.info lists",
    )
    add("--server", metavar="HOST:PORT", help="address, instead of line 1 of transfer.info")
    add("--name", help="client name, instead of line 2 of transfer.info")
    add(
        "--directory",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="where transfer.info, me.info and priv.key are, and what the paths in transfer.info"
        " are relative to; FILE is relative to the current directory (default: the current one)",
    )
    add("--protocol", choices=["3"], required=True, help=argparse.SUPPRESS)
    add(
        "--generation",
        choices=list(GENERATIONS),
        default=GENERATION_2023A.name,
        help="which published generation of protocol 3 the server speaks (default: %(default)s)",
    )
    add(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long to wait for a connection, for an answer, and for the server to take more"
        " data (default: 60)",
    )
    add(
        "--retries",
        type=count,
        default=4,
        metavar="N",
        help="connect again up to N times in a row when the connection is refused or lost"
        " (default: %(default)s)",
    )
    add(
        "--json",
        dest="json_lines",
        action="store_true",
        help="write a JSON object for each file, and one for the run, each on a line of stdout",
    )
    add("-q", "--quiet", action="store_true", help="tell nothing but warnings and errors")
    add("-v", "--verbose", action="store_true", help="tell every step on stderr")
    add("--version", action="version", version=f"%(prog)s {protocol.__version__}")
    return parser
