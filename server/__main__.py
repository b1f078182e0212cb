"""The command line of the server."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import protocol
from server import config as settings
from server.config import Config
from server.errors import ServerError

_DESCRIPTION = """\
Receives encrypted files from registered clients (protocol 3, all published generations).

Without a command it serves. Every setting can also be given as an environment variable
(EFT_MAX_CONNECTIONS) or in the TOML file (max_connections); a flag wins over the environment,
the environment over the file. The port also comes from port.info, in the working directory or
beside the server's code.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 well, 1 the server failed, 2 misuse."""
    flags = vars(_parser().parse_args(arguments))
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


def _run(flags: dict[str, object]) -> int:
    command = flags.get("command")
    if command is None:
        config = settings.load(flags, warn=lambda text: _complain(f"warning: {text}"))
        return _serve(config)
    config = settings.load(flags)
    return _inspect(config, flags)


def _serve(config: Config) -> int:
    from server import logs, serving  # imports the ciphers, which `--help` does without

    logs.set_up(config.log_format, config.log_level)
    return serving.serve(config, lambda text: print(text, flush=True))  # noqa: T201 - the user's line


def _inspect(config: Config, flags: dict[str, object]) -> int:
    from server import inspection

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as `files list | head` expects
    client = flags.get("client")
    client = client if isinstance(client, str) else None
    as_json = bool(flags.get("json"))
    repository = inspection.open_existing(config)
    try:
        match flags["command"], flags["action"]:
            case "clients", _:
                inspection.list_clients(repository, print, as_json=as_json)
            case _, "list":
                inspection.list_files(
                    repository, config.data, print, as_json=as_json, client=client
                )
            case _:
                failures: list[ServerError] = []
                target = Path(str(flags["directory"]))
                for path in inspection.export_files(
                    repository, config.data, target, failures.append, client=client
                ):
                    print(path)  # noqa: T201 - the answer to the command
                for failure in failures:
                    _complain(f"error: {failure}")
                return 1 if failures else 0
    finally:
        repository.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=protocol.__version__)
    settings.add_arguments(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    clients = commands.add_parser("clients", help="show the registered clients")
    clients.add_argument("action", choices=["list"])
    clients.add_argument("--json", action="store_true", help="one JSON object a line")
    files = commands.add_parser("files", help="show or copy out the received files")
    actions = files.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show every file, its checksum and where it lies")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    listing.add_argument("--client", metavar="NAME", help="only this client's (name or id)")
    export = actions.add_parser("export", help="copy files to DIRECTORY/CLIENT/NAME")
    export.add_argument("directory", metavar="DIRECTORY")
    export.add_argument("--client", metavar="NAME", help="only this client's (name or id)")
    return parser


def _discard_output() -> None:
    """Keeps the interpreter from trying once more, with a traceback, at its exit."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device, not a path of ours
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _complain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the user's line


if __name__ == "__main__":
    sys.exit(main())
