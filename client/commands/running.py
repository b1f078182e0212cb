"""A command from its arguments to its exit status."""

import argparse
import io
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from client.commands.asking import ask_about_server
from client.commands.output import Outcome, Output
from client.commands.remote import Remote
from client.errors import ClientError, ExitStatus, NotWritten, ServerChanged

Connect = Callable[..., Remote]
"""Called as `client.Client` is."""

_CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@   WARNING: THE SERVER'S CERTIFICATE HAS CHANGED!   @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
known:     {known}
presented: {presented}"""


class Context(NamedTuple):
    """What a command gets: its arguments, where to tell, how to reach a server."""

    arguments: argparse.Namespace
    output: Output
    connect: Connect

    def open(self, server: str | None = None, *, limit_rate: int | None = None) -> Remote:
        """A client of this server, or of the one that arguments, environment and state name.

        Raises `BadInput` when none of them does.
        """
        from client.commands.servers import choose_server

        arguments = self.arguments
        return self.connect(
            server or choose_server(arguments),
            directory=arguments.directory,
            fingerprint=arguments.fingerprint,
            ca_file=arguments.ca_file,
            on_unknown_server=ask_about_server,
            timeout=arguments.timeout,
            retries=arguments.retries,
            limit_rate=limit_rate,
            on_delay=self._tell_delay,
        )

    def _tell_delay(self, error: ClientError, seconds: float, number: int) -> None:
        of = self.arguments.retries
        self.output.note(f"{error}; trying again in {seconds:.1f} s ({number} of {of})")


def run(argv: Sequence[str], connect: Connect | None = None) -> int:
    """Runs the command line (without the program's name); the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name need not be in the terminal's alphabet
        sys.stdout.reconfigure(errors="backslashreplace")
    if _wants_protocol_3(argv):
        from client.commands.protocol3 import run_protocol_3

        return run_protocol_3(argv)
    from client.commands.parser import parse

    arguments = parse(argv)
    output = Output(
        verbose=arguments.verbose, quiet=arguments.quiet, json_lines=arguments.json_lines
    )
    return _run(Context(arguments, output, connect or _connect))


def _run(context: Context) -> ExitStatus:
    output = context.output
    error: str | None = None
    try:
        context.arguments.run(context)
        status = _status_of_files(output)
    except ClientError as failure:
        _tell_failure(output, failure)
        status, error = failure.status, str(failure)
    except KeyboardInterrupt:
        status, error = ExitStatus.INTERRUPTED, "interrupted"
        unsent = output.counts[Outcome.UNSENT]
        output.warn("interrupted" + "; the same command goes on where it stopped" * bool(unsent))
    try:
        output.summary(status, error)
    except NotWritten as failure:
        output.fatal(failure)
        return failure.status
    return status


def _status_of_files(output: Output) -> ExitStatus:
    failed = output.counts[Outcome.FAILED] or output.counts[Outcome.UNSENT]
    return ExitStatus.FILE_FAILED if failed else ExitStatus.VERIFIED


def _tell_failure(output: Output, failure: ClientError) -> None:
    if isinstance(failure.__cause__, BrokenPipeError) and not output.json_lines:
        return  # as with `ls | head`: the reader has seen enough, and knows
    # Where an authority vouched, it is most often an option that is missing, and no alarm.
    if isinstance(failure, ServerChanged) and failure.known != failure.BY_AUTHORITY:
        output.loud(_CHANGED.format(known=failure.known, presented=failure.presented))
    output.fatal(failure)


def _wants_protocol_3(argv: Sequence[str]) -> bool:
    # Before parsing: protocol 3 has arguments of its own, and no commands.
    before = argv[: argv.index("--")] if "--" in argv else argv
    pairs = itertools.pairwise(before)
    return "--protocol=3" in before or ("--protocol", "3") in pairs


def _connect(server: str, **options: Any) -> Remote:  # noqa: ANN401 - those of Client
    from client import Client

    return Client(server, **options)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program with these arguments, or those of the process; the exit status."""
    try:
        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # before the command began, or while it told of an interrupt
        return ExitStatus.INTERRUPTED
