"""`put`: sends files and directories."""

import sys
import time
from functools import partial
from typing import Any

from client.commands.names import checked_name
from client.commands.options import (
    Subparsers,
    add_limit_rate,
    add_overwrite,
    command,
    jobs,
)
from client.commands.output import Outcome, Row, printable
from client.commands.running import Context
from client.errors import BadInput, Exists
from client.walking import Found, Skipped, walk

_DESCRIPTION = """\
Send files, and directories with everything in them. Names are those of rsync: `put photos` stores
photos/..., `put photos/` stores what is in it without photos/. Modification times and permissions
are kept with the files. A transfer that was interrupted goes on where it stopped when the same
command is given again.

Symbolic links inside directories are not followed and not sent, nor are devices, pipes and
sockets: they are reported as skipped, which is no failure. A link that is given as PATH is
followed. Directories without files leave nothing on the server. What cannot be found, a PATH that
is no file or directory, directories that cannot be read, and names that the server cannot store are
reported before anything is sent; all the rest is sent, and the exit status is 1.

  eft-client put report.txt photos/ --to 2026/november
  eft-client put . --exclude '*.tmp' --exclude .git/ --dry-run
  tar c /etc | eft-client put - --as etc.tar"""


def add(commands: Subparsers) -> None:
    """Adds `put`."""
    parser = command(commands, "put", "send files and directories", _DESCRIPTION)
    more = parser.add_argument
    more("paths", nargs="+", metavar="PATH", help="file or directory; - is standard input")
    more("--to", default="", metavar="DIR", help="directory on the server (default: the topmost)")
    more(
        "--as",
        dest="stored_as",
        metavar="NAME",
        help="name on the server of the one file that is sent; needed for standard input",
    )
    more(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="leave out files and directories whose name, or path below the PATH that was given,"
        " matches, as in '*.tmp', 'build/*.o' or '.git/' (a directory); may be repeated",
    )
    more("-n", "--dry-run", action="store_true", help="show what would be sent; connect nowhere")
    add_overwrite(parser, "on the server")
    add_limit_rate(parser)
    more(
        "-j",
        "--jobs",
        type=jobs,
        default=1,
        metavar="N",
        help="send large files over N connections at once (default: 1)",
    )
    parser.set_defaults(run=run)


def run(context: Context) -> None:
    """Sends, or shows what it would send; raises `BadInput` for arguments that contradict."""
    arguments = context.arguments
    if arguments.to:
        arguments.to = checked_name(arguments.to.strip("/"), "--to")
    if "-" in arguments.paths:
        _send_input(context)
        return
    found, skipped = _found(context)
    _report_skipped(context, skipped)
    if not found and not skipped:
        context.output.warn("there is no file to send, in all that was named")
    if arguments.dry_run:
        for file in found:
            row = Row(str(file.path), file.name, Outcome.PLANNED, file.size)
            context.output.file(row, f"{printable(str(file.path))} -> {printable(file.name)}")
    elif found:
        _send(context, found)


def _send(context: Context, found: list[Found]) -> None:
    from client.commands.sending import POLICIES, Sending, tell_totals

    arguments = context.arguments
    rate = arguments.limit_rate and max(1, arguments.limit_rate // arguments.jobs)
    sending = Sending(context, found, POLICIES[arguments.overwrite])
    with context.open(limit_rate=rate) as remote:
        sending.run(remote, jobs=arguments.jobs, limit_rate=rate)
    tell_totals(context, "stored")


def _found(context: Context) -> tuple[list[Found], list[Skipped]]:
    from client.commands.sending import check_distinct

    arguments = context.arguments
    results = list(walk(arguments.paths, prefix=arguments.to, exclude=arguments.exclude))
    # What was named twice, as by `*.txt notes.txt`, is sent once.
    found = list(dict.fromkeys(result for result in results if isinstance(result, Found)))
    if arguments.stored_as is not None:
        found = [_renamed(context, found, len(results))]
    check_distinct(found, "send one of them with another --to")
    return found, [result for result in results if isinstance(result, Skipped)]


def _renamed(context: Context, found: list[Found], results: int) -> Found:
    arguments = context.arguments
    if results != 1 or len(arguments.paths) != 1 or not found:
        raise BadInput("--as", "is for one file that can be sent", "use --to for several")
    return Found(found[0].path, _name(arguments), found[0].size)


def _name(arguments: Any) -> str:  # noqa: ANN401 - argparse.Namespace is as untyped
    name = f"{arguments.to}/{arguments.stored_as}" if arguments.to else arguments.stored_as
    return checked_name(name, "--as")


def _report_skipped(context: Context, skipped: list[Skipped]) -> None:
    for result in skipped:
        path, output = str(result.path), context.output
        text = f"{printable(path)}: {result.reason}"
        if result.failed:
            output.fatal(text)
        else:
            output.warn(f"{text}, skipped")
        outcome = Outcome.FAILED if result.failed else Outcome.SKIPPED
        output.file(Row(path, None, outcome, error=result.reason))


def _send_input(context: Context) -> None:
    arguments, output = context.arguments, context.output
    if arguments.paths != ["-"]:
        raise BadInput("PATH", "standard input goes alone", "send the files on their own")
    if sys.stdin is None:  # as with `<&-`
        raise BadInput("-", "standard input is closed", "redirect it from what is to be sent")
    if arguments.stored_as is None:
        raise BadInput("--as", "missing", "say under which name to store standard input")
    name = _name(arguments)
    if arguments.dry_run:
        output.file(Row("-", name, Outcome.PLANNED), f"- -> {printable(name)}")
        return
    from client.commands.sending import POLICIES, report_stored, tell_totals
    from client.progress import Display

    began = time.monotonic()
    quiet = output.quiet or output.json_lines
    display = Display(sys.stderr, quiet=quiet, files=1, total=None, action=name)
    with context.open(limit_rate=arguments.limit_rate) as remote:
        try:
            remote.whoami()  # a question about an unknown server comes before the bar
            with display:
                output.aside = display.aside
                receipt = remote.put(
                    sys.stdin.buffer,
                    name,
                    policy=POLICIES[arguments.overwrite],
                    progress=partial(display.advance, name),
                )
        except Exists:
            output.step(f"{printable(name)}: is there already, skipped")
            output.file(Row("-", name, Outcome.SKIPPED))
            return
    report_stored(context, "-", receipt, round(time.monotonic() - began, 3))
    tell_totals(context, "stored")
