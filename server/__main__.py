"""The command line of the server."""

import argparse
import io
import os
import sys
from collections.abc import Sequence

import protocol
from server import commands
from server import config as settings
from server.config import Config
from server.errors import ConfigurationError, ServerError

_DESCRIPTION = """\
Receives encrypted files from registered clients: over protocol 4, and on loopback or where it is
allowed over protocol 3 (all published generations).

Without a command it serves. Every setting can also be given as an environment variable
(EFT_MAX_CONNECTIONS) or in the TOML file (max_connections); a flag wins over the environment,
the environment over the file. The port also comes from port.info, in the working directory or
beside the server's code.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 well, 1 the server failed, 2 misuse."""
    flags = vars(_parsed(arguments))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name need not be in the terminal's alphabet
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _run(flags)
    except ServerError as error:
        _complain(f"error: {error}")
        return 1
    except OSError as error:  # everything else that touches the system has translated its own
        _complain(f"error: standard output takes no more: {error.strerror}")
        _discard_output()
        return 1
    except KeyboardInterrupt:
        return 130


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser()
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        before = "; settings go before the command" if parsed.command else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{before}")
    return parsed


def _run(flags: dict[str, object]) -> int:
    command = flags.get("command")
    if command is None:
        config = settings.load(flags, warn=lambda text: _complain(f"warning: {text}"))
        return _serve(config)
    config = settings.load(flags)
    return _answer(config, flags)


def _serve(config: Config) -> int:
    from server import logs, serving  # imports the ciphers, which `--help` does without

    logs.set_up(config.log_format, config.log_level)
    return serving.serve(config, lambda text: print(text, flush=True))  # noqa: T201 - the user's line


def _answer(config: Config, flags: dict[str, object]) -> int:
    def complain(failure: ServerError) -> None:
        _complain(f"error: {failure}")

    if sys.stdout is None:  # `>&-`: a token, say, would be made and seen by nobody
        raise ConfigurationError("standard output is closed, which the answer goes to")
    call = commands.Call(config, flags, print, sys.stdout.flush, complain, _confirm)
    status = commands.run(call)
    sys.stdout.flush()  # at its exit the interpreter would fail with a traceback
    return status


def _confirm(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to be asked: give --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201 - for the user
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def make_parser() -> argparse.ArgumentParser:
    """Every setting and every command of the server."""
    parser = argparse.ArgumentParser(
        prog="python -m server",
        usage="%(prog)s [SETTING...] [COMMAND ...]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=protocol.__version__)
    settings.add_arguments(parser)
    commands.add_to(parser)
    return parser


def _discard_output() -> None:
    """Keeps the interpreter from trying once more, with a traceback, at its exit."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the user's line


if __name__ == "__main__":
    sys.exit(main())
