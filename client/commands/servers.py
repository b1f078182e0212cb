"""Which server a command means."""

import argparse
import os
from pathlib import Path

from client.errors import BadInput


def choose_server(arguments: argparse.Namespace) -> str:
    """`--server`, EFT_SERVER, line 1 of transfer.info in `--directory`, or the only known one.

    A transfer.info in the current directory does not count unless `--directory .` says so: a
    directory that somebody else can write to must not decide where files go. Raises `BadInput`
    when nothing says it.
    """
    directory: Path | None = arguments.directory
    if arguments.server:
        return str(arguments.server)
    if server := os.environ.get("EFT_SERVER"):
        return server
    return _from_transfer_info(directory) or _only_known(directory)


def _from_transfer_info(directory: Path | None) -> str | None:
    if directory is None:
        return None
    from client.transfer_info import read_transfer_info

    info = read_transfer_info(directory)
    return info.server.text if info else None


def _only_known(directory: Path | None) -> str:
    from client.known_servers import KnownServers
    from client.state import Places

    known = KnownServers(Places.of(directory).known_servers).all()
    if len(known) == 1:
        return known[0].server
    if known:
        cause = "several servers are known (" + ", ".join(entry.server for entry in known) + ")"
    else:
        cause = "missing, and no server is known yet"
    remedy = "say which one, or set EFT_SERVER"
    if directory is None and Path("transfer.info").is_file():
        remedy += "; --directory . uses the transfer.info here"
    raise BadInput("--server", cause, remedy)
