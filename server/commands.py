"""The operator's commands: their arguments, and which function answers them."""

import argparse
import re
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.config import Config
from server.errors import ServerError

if TYPE_CHECKING:
    from server.repository import Repository

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9}) ?([smhd])", re.IGNORECASE | re.ASCII)
_MAX_SECONDS = 10 * 365 * 86400

_DISABLE = """\
Shuts a client out until it is enabled again; its files stay. It is refused the next time it has
to prove who it is: a connection that it has open goes on until it ends.
"""
_CHECK = """\
Compares the database with the data directory: files whose bytes are missing or of another size,
objects and staged files that the database does not know, uploads whose staged file is gone,
replaced objects that are still there. --deep also reads every object and compares its SHA-256 or
checksum.

It may be given while a server runs; what may be on its way then is counted as undecided. Without a
server all of it can be told, and none can start until the check is over. The exit status is 0 when
nothing is wrong, 1 when there are problems, 2 when it could not be checked.

--repair mends what no acknowledged file hangs on, as a server does at its start: objects that the
database does not know are set aside in orphans, those that it knows come back from there, replaced
ones, leftovers in staging and uploads without a staged file are removed. It needs the server to be
stopped.
"""
_BACKUP = """\
Copies what the server keeps to DIRECTORY, laid out like a data directory: the files' bytes, the
keys, and the database, all of one moment. It may be given while the server runs. A backup that is
there is brought up to date, and is complete at every moment.

On the file system of the data directory objects are linked, which takes no room and no time, and
protects from mistakes but not from a disk that dies: copy DIRECTORY elsewhere, or give --copy.
"""
_RESTORE = """\
Restores what `backup` made in DIRECTORY to the data directory (--data) and the database
(--database), both of which must be empty; the database may be of another kind than the one that was
backed up. Then every file is read and compared with its SHA-256 or checksum. Give the command as
the user that the server runs as.

No server starts on the data directory before all of it is done. A restore that was broken off goes
on when the command is given again. The exit status is 1 when it failed or when files are not as
they were received, each of which is shown; all others are restored then.
"""
_REMOVE = """\
Removes a client, its files and its unfinished uploads from the database: it is not let in any more
and its name is free again. This cannot be undone. The files' bytes are only marked for removal
here, since another process must not delete what the server may be reading: a server that runs
removes them within a few minutes, one that does not run removes them at its next start.
"""

Print = Callable[[str], None]


def parse_duration(text: str) -> int:
    """Seconds from `90s`, `30m`, `24h` or `7d`, up to ten years."""
    match = _DURATION.fullmatch(text.strip())
    seconds = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if not 0 < seconds <= _MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 30m, 24h or 7d")
    return seconds


def parse_moment(text: str, now: Callable[[], float] = time.time) -> int:
    """Seconds since 1970 UTC from a time before now (`24h`, `7d`) or a date and time of ISO 8601,
    in UTC unless it says otherwise."""
    if _DURATION.fullmatch(text.strip()):
        return int(now()) - parse_duration(text)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is neither a time ago such as 24h or 7d nor a date such as 2026-01-31"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def add_to(parser: argparse.ArgumentParser) -> None:
    """Adds every command to the command line of the server."""
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", prog=parser.prog
    )
    commands.add_parser("fingerprint", help="print what clients know this server by")
    _add_tokens(_actions(commands, "token", "let clients register over protocol 4"))
    _add_clients(_actions(commands, "clients", "show or change the registered clients"))
    _add_files(_actions(commands, "files", "show or copy out the received files"))
    _add_check(commands)
    _add_audit(commands)
    _add_backup(commands)
    _add_restore(commands)


def _actions(commands: Any, name: str, text: str) -> Any:  # noqa: ANN401 - argparse's is private
    parser = commands.add_parser(name, help=text, description=text)
    return parser.add_subparsers(dest="action", metavar="ACTION", required=True)


def _add_tokens(actions: Any) -> None:  # noqa: ANN401
    create = actions.add_parser(
        "create",
        help="make a token for one registration and print it, once",
        description="Makes a token that is good for one registration and prints it. It is not "
        "kept, only its SHA-256 is: give it to the client now.",
    )
    create.add_argument("--name", help="the only client name that it is good for (default: any)")
    create.add_argument(
        "--expires",
        type=parse_duration,
        default="24h",
        metavar="TIME",
        help="how long it is good: 90s, 30m, 24h, 7d (default: 24h)",
    )
    _add_json(actions.add_parser("list", help="show the tokens that are not used up"))
    revoke = actions.add_parser("revoke", help="make a token useless")
    revoke.add_argument(
        "digest", metavar="DIGEST-PREFIX", help="beginning of its digest, see `token list`"
    )


def _add_clients(actions: Any) -> None:  # noqa: ANN401
    _add_json(actions.add_parser("list", help="show every client"))
    show = actions.add_parser("show", help="show a client's key, files and dates")
    disable = actions.add_parser("disable", help="shut a client out", description=_DISABLE)
    enable = actions.add_parser("enable", help="let a client in again")
    remove = actions.add_parser(
        "remove", help="remove a client and all its files", description=_REMOVE
    )
    for action in (show, disable, enable, remove):
        action.add_argument("client", metavar="NAME", help="the client's name or id")
    _add_json(show)
    remove.add_argument("--yes", action="store_true", help="do not ask")


def _add_files(actions: Any) -> None:  # noqa: ANN401
    listing = actions.add_parser("list", help="show every file, its checksum and where it lies")
    _add_json(listing)
    listing.add_argument("--client", metavar="NAME", help="only this client's (name or id)")
    show = actions.add_parser("show", help="show all that is known of a file")
    show.add_argument("client", metavar="CLIENT", help="the client's name or id")
    show.add_argument("name", metavar="NAME", help="the file's name")
    _add_json(show)
    export = actions.add_parser("export", help="copy files to DIRECTORY/CLIENT/NAME")
    export.add_argument("directory", metavar="DIRECTORY", type=Path)
    export.add_argument("--client", metavar="NAME", help="only this client's (name or id)")


def _add_check(commands: Any) -> None:  # noqa: ANN401
    check = commands.add_parser(
        "check",
        help="compare the database with the data directory",
        description=_CHECK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("--deep", action="store_true", help="read every object, compare digests")
    check.add_argument("--repair", action="store_true", help="mend what loses no file")
    _add_json(check)


def _add_audit(commands: Any) -> None:  # noqa: ANN401
    audit = commands.add_parser(
        "audit",
        help="show who did what, when, from where",
        description="Shows the audit trail: who did what, when, from where, and what came of it.",
    )
    audit.add_argument("--client", metavar="NAME", help="only what is about the client so named")
    audit.add_argument(
        "--since",
        type=parse_moment,
        default=0,
        metavar="TIME",
        help="only what is not older: 24h, 7d, 2026-01-31 or 2026-01-31T12:00",
    )
    audit.add_argument(
        "--forget-before",
        type=parse_moment,
        metavar="TIME",
        help="remove what is older, which the trail tells of, and show nothing",
    )
    _add_json(audit)


def _add_backup(commands: Any) -> None:  # noqa: ANN401
    backup = commands.add_parser(
        "backup",
        help="copy database, files and keys to a directory, while the server runs",
        description=_BACKUP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    backup.add_argument("directory", metavar="DIRECTORY", type=Path)
    backup.add_argument("--copy", action="store_true", help="copy objects, never link them")


def _add_restore(commands: Any) -> None:  # noqa: ANN401
    restore = commands.add_parser(
        "restore",
        help="restore a backup to an empty data directory and an empty database",
        description=_RESTORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    restore.add_argument("directory", metavar="DIRECTORY", type=Path)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


@dataclass(frozen=True, slots=True)
class Call:
    """A command that was given, and where its answer goes: what `show` was given is written when
    `flush` returns, and `OSError` says that it cannot be. `confirm` is asked before something is
    lost."""

    config: Config
    flags: Mapping[str, Any]
    show: Print
    flush: Callable[[], None]
    complain: Callable[[ServerError], None]
    confirm: Callable[[str], bool]

    @property
    def as_json(self) -> bool:
        return bool(self.flags.get("json"))

    @property
    def client(self) -> str:
        """The client that the command names."""
        return str(self.flags["client"])


def run(call: Call) -> int:
    """Carries the command out and returns the exit status.

    Raises `ServerError`, and `OSError` when the answer cannot be written.
    """
    from server import administration, inspection  # what is behind them takes long to load

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as `files list | head` expects
    if call.flags["command"] == "fingerprint":
        administration.show_fingerprint(call.config, call.show)
        return 0
    if call.flags["command"] == "check":
        return _run_check(call)
    if call.flags["command"] == "backup":
        return _run_backup(call)
    if call.flags["command"] == "restore":
        return _run_restore(call)
    answer = {
        "token": _run_token, "clients": _run_clients, "files": _run_files, "audit": _run_audit
    }  # fmt: skip
    with closing(inspection.open_existing(call.config)) as repository:
        return answer[call.flags["command"]](call, repository)


def _run_check(call: Call) -> int:
    from server import checking

    try:
        return checking.run(
            call.config, call.show, deep=call.flags["deep"], mend=call.flags["repair"],
            as_json=call.as_json,
        )  # fmt: skip
    except ServerError as error:  # which is not to be taken for a problem that was found
        call.complain(error)
        return 2


def _run_backup(call: Call) -> int:
    from server import backup

    return backup.run(
        call.config, call.show, call.complain, call.flags["directory"], copy=call.flags["copy"]
    )


def _run_restore(call: Call) -> int:
    from server import restore

    return restore.run(call.config, call.show, call.complain, call.flags["directory"])


def _run_audit(call: Call, repository: "Repository") -> int:
    from server import administration, inspection

    before = call.flags["forget_before"]
    if before is not None:
        administration.shorten_trail(repository, call.show, before)
    else:
        inspection.list_events(
            repository, call.show, client=call.flags["client"], since=call.flags["since"],
            as_json=call.as_json,
        )  # fmt: skip
    return 0


def _run_token(call: Call, repository: "Repository") -> int:
    from server import administration

    match call.flags["action"]:
        case "create":
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a token that nobody sees is removed

            def show(token: str) -> None:
                call.show(token)
                call.flush()

            administration.create_token(
                repository, show, name=call.flags["name"], seconds=call.flags["expires"],
                max_name_bytes=call.config.max_name_bytes,
            )  # fmt: skip
        case "list":
            administration.list_tokens(repository, call.show, as_json=call.as_json)
        case _:
            administration.revoke_token(repository, call.show, call.flags["digest"])
    return 0


def _run_clients(call: Call, repository: "Repository") -> int:
    from server import administration, inspection

    match call.flags["action"]:
        case "list":
            inspection.list_clients(repository, call.show, as_json=call.as_json)
        case "show":
            inspection.show_client(repository, call.show, call.client, as_json=call.as_json)
        case "remove":
            confirm = (lambda _question: True) if call.flags["yes"] else call.confirm
            return administration.remove_client(repository, call.show, call.client, confirm)
        case action:
            administration.set_disabled(
                repository, call.show, call.client, disabled=action == "disable"
            )
    return 0


def _run_files(call: Call, repository: "Repository") -> int:
    from server import inspection

    data, only = call.config.data, call.flags["client"]
    match call.flags["action"]:
        case "list":
            inspection.list_files(repository, data, call.show, as_json=call.as_json, client=only)
        case "show":
            inspection.show_file(
                repository, data, call.show, call.client, call.flags["name"], as_json=call.as_json
            )
        case _:
            failures: list[ServerError] = []
            target = call.flags["directory"]
            inspection.check_target(data, target)
            for path in inspection.export_files(
                repository, data, target, failures.append, client=only
            ):
                call.show(str(path))
            for failure in failures:
                call.complain(failure)
            return 1 if failures else 0
    return 0
