"""A database and a data directory that belong together, and are not mixed up with others.

Both carry one id of 16 random bytes: the database in a row, the directory in a file, which every
backup holds, too. A server on another one's database would lead that one's files to objects that it
does not have, and set aside or remove objects that are not its own.

Copies of a directory have the same id. While a server runs it holds the database, which keeps one
on another copy off; and both carry the number of starts, by which an older copy is known later.
"""

import errno
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from server.durability import write_private
from server.errors import ConfigurationError
from server.repository import DatabaseFull, Repository
from server.storage import DirectoryStorage

_log = logging.getLogger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

ID_FILE = "directory.id"
"""In the data directory: the id in hexadecimal and, since a server has begun, the number of its
starts. An operator who wants an older copy to be used writes the id alone."""

_CONTENT = re.compile(r"([0-9a-f]{32})(?: ([0-9]{1,18}))?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Own:
    """What the file says."""

    id: bytes
    starts: int | None = None


def pair(repository: Repository, data: Path, storage: DirectoryStorage) -> None:
    """Lets the database belong to this data directory, in which `storage` keeps its objects, from
    its first use on.

    Raises `ConfigurationError` when it belongs to another one, or when it is new and the directory
    is not, `RepositoryError` and `StorageError`.
    """
    own, known = _read(data), _known(repository)
    if known is None:
        if _holds_objects(storage) and not any(True for _ in repository.clients()):
            raise ConfigurationError(
                f"the database is empty and {data} holds files: give their database as --database,"
                " or, to begin anew, another directory as --data"
            )
        own = own or _create(data)
        known = repository.claim(own.id)
    _compare(own, known, data)


def begin(repository: Repository, data: Path) -> None:
    """Lets this server be the only one on the database, which was paired and is held, until it is
    `taken_over`, and counts the start in both.

    Without room on the disk the start is not counted, which the log tells: clients may still list
    and fetch. Raises `ConfigurationError` when the directory is an older copy, `DatabaseInUse` and
    `RepositoryError`.
    """
    paired = repository.pairing()
    before = 0 if paired is None else paired[1]
    own = _newest(data, before)
    # In the directory first: killed in between, it is ahead of the database and no older copy.
    now = max(before, own.starts or 0) + 1
    full = ""
    try:
        _write(data, _Own(own.id, now))
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise _unusable(data, error) from error
        now, full = before, f"{data / ID_FILE}: {error.strerror}"
    try:
        repository.begin_use(before, now)
    except DatabaseFull as error:
        full = str(error)
    if full:
        _log.warning(
            "there is no room to count this start: until there is, and the server is started again,"
            " copies of %s since the start before are not told from it (%s)",
            *(data, full),
        )


def refuse_older(repository: Repository, data: Path) -> None:
    """Raises `ConfigurationError` when a server has used the database since this directory, which
    belongs to it, was copied; changes nothing."""
    # Looked at before the file, which a server that starts meanwhile writes first.
    paired = repository.pairing()
    if paired is not None:
        _newest(data, paired[1])


def check_pair(repository: Repository, data: Path) -> None:
    """Raises what `pair` does and changes nothing: what has not been used yet belongs to nobody."""
    known = _known(repository)
    if known is not None:
        _compare(_read(data), known, data)


def adopt(repository: Repository, data: Path) -> None:
    """Lets this data directory be the one that the database belongs to, if it belongs to any: both
    were restored from one backup.

    Raises `RepositoryError`, `OSError`.
    """
    paired = repository.pairing()
    if paired is not None:
        _write(data, _Own(*paired))


def _known(repository: Repository) -> bytes | None:
    paired = repository.pairing()
    return None if paired is None else paired[0]


def _holds_objects(storage: DirectoryStorage) -> bool:
    return any(True for client_id in storage.client_ids() for _ in storage.object_ids(client_id))


def _newest(data: Path, starts: int) -> _Own:
    own = _read(data)
    if own is None:
        raise ConfigurationError(f"{data / ID_FILE} is gone: restore it from a backup")
    if own.starts is not None and own.starts < starts:
        raise ConfigurationError(
            f"{data} is an older copy of the database's data directory, without the files that were"
            " acknowledged since: give the newest one as --data or, if there is none, see with"
            f" `check` what is missing and write {own.id.hex()} to {data / ID_FILE}"
        )
    return own


def _compare(own: _Own | None, known: bytes, data: Path) -> None:
    if own is None or own.id != known:
        raise ConfigurationError(
            f"the database belongs to another data directory than {data}: give that one as --data,"
            f" or another --database; if {data} is that one, restored, write {known.hex()} to"
            f" {data / ID_FILE}"
        )


def _create(data: Path) -> _Own:
    own = _Own(os.urandom(16))
    _put(data, own)
    return own


def _put(data: Path, own: _Own) -> None:
    try:
        _write(data, own)
    except OSError as error:
        raise _unusable(data, error) from error


def _unusable(data: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{data / ID_FILE}: {error.strerror}")


def _write(data: Path, own: _Own) -> None:
    counted = "" if own.starts is None else f" {own.starts}"
    write_private(data / ID_FILE, f"{own.id.hex()}{counted}\n".encode())


def _read(data: Path) -> _Own | None:
    path = data / ID_FILE
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    found = _CONTENT.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{path} is damaged: restore it from a backup, or remove it")
    return _Own(bytes.fromhex(found[1]), None if found[2] is None else int(found[2]))
