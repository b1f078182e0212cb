"""A database and a data directory that belong together, and are not mixed up with others.

Both carry one id of 16 random bytes: the database in a row, the directory in a file, which every
backup holds, too. A server on another one's database would lead that one's files to objects that it
does not have, and set aside or remove objects that are not its own.
"""

import os
import re
from pathlib import Path

from server.durability import write_private
from server.errors import ConfigurationError
from server.repository import Repository
from server.storage import DirectoryStorage

ID_FILE = "directory.id"
"""In the data directory, in hexadecimal."""

# As are the names of the clients' directories.
_ID = re.compile(r"[0-9a-f]{32}\s*", re.ASCII)


def pair(repository: Repository, data: Path, storage: DirectoryStorage) -> None:
    """Lets the database belong to this data directory, in which `storage` keeps its objects, from
    its first use on.

    Raises `ConfigurationError` when it belongs to another one, or when it is new and the directory
    is not, `RepositoryError` and `StorageError`.
    """
    own, known = _read(data), repository.data_directory()
    if known is None:
        if _holds_objects(storage) and not any(True for _ in repository.clients()):
            raise ConfigurationError(
                f"the database is empty and {data} holds files: give their database as --database,"
                " or, to begin anew, another directory as --data"
            )
        own = own or _create(data)
        known = repository.claim(own)
    _compare(own, known, data)


def check_pair(repository: Repository, data: Path) -> None:
    """The same without a change: what has not been used yet belongs to nobody."""
    known = repository.data_directory()
    if known is not None:
        _compare(_read(data), known, data)


def adopt(repository: Repository, data: Path) -> None:
    """Lets this data directory be the one that the database belongs to, if it belongs to any: both
    were restored from one backup.

    Raises `RepositoryError`, `OSError`.
    """
    known = repository.data_directory()
    if known is not None:
        _write(data, known)


def _holds_objects(storage: DirectoryStorage) -> bool:
    return any(True for client_id in storage.client_ids() for _ in storage.object_ids(client_id))


def _compare(own: bytes | None, known: bytes, data: Path) -> None:
    if own != known:
        raise ConfigurationError(
            f"the database belongs to another data directory than {data}: give that one as --data,"
            f" or another --database; if {data} is that one, restored, write {known.hex()} to"
            f" {data / ID_FILE}"
        )


def _create(data: Path) -> bytes:
    directory_id = os.urandom(16)
    try:
        _write(data, directory_id)
    except OSError as error:
        raise ConfigurationError(f"{data / ID_FILE}: {error.strerror}") from error
    return directory_id


def _write(data: Path, directory_id: bytes) -> None:
    write_private(data / ID_FILE, f"{directory_id.hex()}\n".encode())


def _read(data: Path) -> bytes | None:
    path = data / ID_FILE
    try:
        text = path.read_text("ascii")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError:
        text = ""
    if not _ID.fullmatch(text):
        raise ConfigurationError(f"{path} is damaged: restore it from a backup, or remove it")
    return bytes.fromhex(text)
