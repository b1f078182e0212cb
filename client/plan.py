"""What a run is to do, from transfer.info and the arguments that stand in for its lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from client.address import Address, parse_address
from client.errors import BadInput
from client.transfer_info import TRANSFER_INFO, Line, TransferInfo, read_transfer_info
from protocol.errors import UnsafeName
from protocol.names import check_client_name

MAX_CLIENT_NAME_CHARACTERS = 100

_DIRECTORY_REMEDY = "create or correct it"
_PUT = "name the files to the command `put`"


class ListedFile(NamedTuple):
    """A file as the user wrote it, where to find it, and where it was written."""

    shown: str
    path: Path
    origin: str


class Plan(NamedTuple):
    """The server, the client name (None: as in me.info) and the files of one run."""

    server: Address
    name: Line | None
    files: tuple[ListedFile, ...]


def make_plan(
    directory: Path,
    *,
    server: str | None = None,
    name: str | None = None,
    files: Sequence[str] = (),
    takes_files: bool = False,
) -> Plan:
    """Arguments where given, lines of the transfer.info in `directory` elsewhere.

    `takes_files` says whether files can be named where this is called: what is missing is then
    asked for there, else the errors point to the command that takes them.

    Paths in `files` are relative to the current directory, those in transfer.info to `directory`.
    transfer.info is not read when the arguments say everything. Raises `BadInput` when something
    is missing or malformed; whether the files exist is not looked at.
    """
    origin = f"--directory {str(directory)!r}"
    try:
        is_directory = directory.is_dir()
    except OSError as error:
        cause = error.strerror or "unusable"
        raise BadInput(origin, cause, _DIRECTORY_REMEDY) from error
    if not is_directory:
        raise BadInput(origin, "no such directory", _DIRECTORY_REMEDY)
    complete = server is not None and name is not None and bool(files)
    info = None if complete else read_transfer_info(directory)
    return Plan(
        _server(directory, info, server, "use --server" if takes_files else _PUT),
        _name(info, name),
        _files(directory, info, files, "use FILE arguments" if takes_files else _PUT),
    )


def _missing(directory: Path, line: int, other_way: str) -> BadInput:
    return BadInput(
        f"{TRANSFER_INFO}, line {line}",
        f"no such file in {str(directory)!r}",
        f"write one, or {other_way}",
    )


def _server(
    directory: Path, info: TransferInfo | None, argument: str | None, other_way: str
) -> Address:
    if argument is not None:
        return parse_address(argument, "--server")
    if info is None:
        raise _missing(directory, 1, other_way)
    return parse_address(info.server.text, info.server.origin)


def _name(info: TransferInfo | None, argument: str | None) -> Line | None:
    if argument is not None:
        line = Line(argument, "--name")
    elif info is not None:
        line = Line(info.name.text.strip(), info.name.origin)
    else:
        return None
    remedy = f"choose a client name of at most {MAX_CLIENT_NAME_CHARACTERS} characters"
    if len(line.text) > MAX_CLIENT_NAME_CHARACTERS:
        raise BadInput(line.origin, f"a name of {len(line.text)} characters", remedy)
    try:
        check_client_name(line.text)
    except UnsafeName as error:
        raise BadInput(line.origin, str(error), remedy) from error
    return line


def _files(
    directory: Path, info: TransferInfo | None, arguments: Sequence[str], other_way: str
) -> tuple[ListedFile, ...]:
    if arguments:
        return tuple(ListedFile(path, Path(path), "FILE argument") for path in arguments)
    if info is None:
        raise _missing(directory, 3, other_way)
    if not info.files:
        raise BadInput(
            f"{TRANSFER_INFO}, line 3",
            "empty or missing",
            f"write the path of the file to send, or {other_way}",
        )
    return tuple(ListedFile(line.text, directory / line.text, line.origin) for line in info.files)
