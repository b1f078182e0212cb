"""Options that more than one command has, and the kinds of values that they take."""

import argparse
import math
import re
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeAlias

DEFAULTS: dict[str, Any] = {
    "server": None,
    "directory": None,
    "fingerprint": None,
    "ca_file": None,
    "timeout": 60.0,
    "retries": 4,
    "json_lines": False,
    "quiet": False,
    "verbose": False,
    "token_file": None,
}
"""The common options as they are when nobody gives them."""

SILENT = partial(argparse.HelpFormatter, width=80)
"""For a parser that prints nothing: it need not ask for the terminal's width, which takes long."""

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
_YEAR_SECONDS = 365 * 86400

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What the commands are added to."""

OVERWRITE = ("never", "if-newer", "always")


@cache
def common() -> argparse.ArgumentParser:
    """The options that stand before or behind a command alike: a parent for both parsers.

    They have no defaults, so that the parser that comes second does not undo the first one's.
    """
    parser = argparse.ArgumentParser(
        add_help=False, argument_default=argparse.SUPPRESS, formatter_class=SILENT
    )
    connection = parser.add_argument_group("server and identity")
    add = connection.add_argument
    add(
        "--server",
        metavar="HOST:PORT",
        help="address of the server (else: EFT_SERVER, line 1 of transfer.info in --directory, or"
        " the only server that is known)",
    )
    add(
        "--directory",
        type=Path,
        metavar="DIR",
        help="keep identity, known servers and receipts in DIR (default: the user's own"
        " directories; without a command: the current directory)",
    )
    add(
        "--fingerprint",
        metavar="SHA256:...",
        help="accept the server that has this certificate, and no other",
    )
    add(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="certificate authorities to trust, as PEM, instead of the system's",
    )
    add(
        "--timeout",
        type=seconds,
        metavar="SECONDS",
        help="how long to wait for a connection, an answer, and for the server to take more data"
        " (default: 60)",
    )
    add(
        "--retries",
        type=count,
        metavar="N",
        help="connect again up to N times in a row when the connection fails (default: 4)",
    )
    output = parser.add_argument_group("output")
    add = output.add_argument
    add(
        "--json",
        dest="json_lines",
        action="store_true",
        help="write a JSON object for each file and a last one for the whole, each on a line of"
        " stdout",
    )
    add("-q", "--quiet", action="store_true", help="no progress, nothing but results and errors")
    add("-v", "--verbose", action="store_true", help="tell of each file on stderr")
    return parser


def command(
    commands: Subparsers, name: str, summary: str, text: str = ""
) -> argparse.ArgumentParser:
    """Adds a command with the common options; `text` is what its `--help` says."""
    return commands.add_parser(
        name,
        help=summary,
        description=text or f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common()],
        allow_abbrev=False,
    )


def add_overwrite(parser: argparse.ArgumentParser, where: str) -> None:
    """Adds `--overwrite`; `where` says what is replaced."""
    parser.add_argument(
        "--overwrite",
        choices=OVERWRITE,
        default="always",
        help=f"replace a file {where} never, only by one that was modified later, or always;"
        " what is not replaced is skipped and no failure (default: %(default)s)",
    )


def add_limit_rate(parser: argparse.ArgumentParser) -> None:
    """Adds `--limit-rate`."""
    parser.add_argument(
        "--limit-rate",
        type=size,
        metavar="RATE",
        help="bytes per second at most, over all connections together; 500k, 2M and 1G are powers"
        " of 1024",
    )


def add_token_file(parser: argparse._ActionsContainer) -> None:
    """Adds `--token-file`. A token is never an argument: everybody could see it in `ps`."""
    parser.add_argument(
        "--token-file",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="file with the registration token (else: EFT_TOKEN, or a question on the terminal)",
    )


def seconds(text: str) -> float:
    """A time above 0; raises `ArgumentTypeError`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # Beyond a year the operating system's timers overflow.
    if not 0 < value <= _YEAR_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds above 0 and up to {_YEAR_SECONDS}"
        )
    return value


def count(text: str) -> int:
    """A whole number from 0; raises `ArgumentTypeError`."""
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def jobs(text: str) -> int:
    """A number of connections; raises `ArgumentTypeError`."""
    number = int(text) if re.fullmatch(r"\d{1,3}", text, re.ASCII) else 0
    if not 1 <= number <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return number


def size(text: str) -> int:
    """A number of bytes above 0, such as 1048576, 1024k or 1.5M; raises `ArgumentTypeError`."""
    match = _SIZE.fullmatch(text.strip())
    value = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 500k, 2M or 1048576")
    return value
