"""What operators ask of the stored files: lists and copies under the clients' own names."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from protocol.errors import UnsafeName
from protocol.names import check_file_name
from server.config import Config
from server.durability import make_directory, sync_directory
from server.errors import ConfigurationError, StorageError
from server.repository import Client, Repository, StoredFile, open_repository
from server.storage import object_path

_COPY_BYTES = 2**20

Printer = Callable[[str], None]

_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)


def open_existing(config: Config) -> Repository:
    """The configured repository; raises `ConfigurationError` rather than make an empty one."""
    password = config.database_password(os.environ)
    return open_repository(config.database_url, password=password, create=False)


def list_clients(repository: Repository, show: Printer, *, as_json: bool) -> None:
    """Prints each client: id, last seen, name."""
    for client in repository.clients():
        if as_json:
            show(
                json.dumps(
                    {
                        "id": client.id.hex(),
                        "name": client.name,
                        "registered_at": client.registered_at,
                        "last_seen": client.last_seen,
                        "has_key": client.public_key is not None,
                    }
                )
            )
        else:
            show(f"{client.id.hex()}  {_when(client.last_seen)}  {client.name}")


def list_files(
    repository: Repository, data: Path, show: Printer, *, as_json: bool, client: str | None
) -> None:
    """Prints each file: size, checksum, time, path of the bytes, client and name."""
    for owner, file in _files(repository, client):
        path = object_path(data, owner.id, file.upload_id)
        if as_json:
            show(
                json.dumps(
                    {
                        "client": owner.name,
                        "name": file.name,
                        "size": file.size,
                        "cksum": file.cksum,
                        "received_at": file.received_at,
                        "path": str(path),
                    }
                )
            )
        else:
            show(
                f"{file.size:>12}  {file.cksum:>10}  {_when(file.received_at)}  {path}"
                f"  {owner.name}/{file.name}"
            )


def export_files(
    repository: Repository,
    data: Path,
    target: Path,
    failed: Callable[[StorageError], None],
    *,
    client: str | None,
) -> Iterator[Path]:
    """Copies every file to `<target>/<client name>/<file name>` and yields each path.

    A copy is complete and durable, and for its owner's eyes only, before it has its name. `failed`
    is told of each file that cannot be copied; the others follow.
    """
    for owner, file in _files(repository, client):
        try:
            yield _export(data, target, owner, file)
        except FileNotFoundError:
            # While the server runs a file may be replaced between the list and the copy.
            newer = repository.find_file(owner.id, file.name)
            try:
                if newer is not None:
                    yield _export(data, target, owner, newer)
            except OSError as error:
                failed(_not_exported(owner, file, error.strerror))
        except OSError as error:
            failed(_not_exported(owner, file, error.strerror))
        except UnsafeName as error:
            failed(_not_exported(owner, file, str(error)))


def _export(data: Path, target: Path, owner: Client, file: StoredFile) -> Path:
    check_file_name(file.name)
    destination = target / _directory_name(owner) / file.name
    temporary = destination.with_name(f".{file.upload_id.hex()}.partial")
    with object_path(data, owner.id, file.upload_id).open("rb") as source:
        make_directory(destination.parent)
        try:
            temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as copy:
                shutil.copyfileobj(source, copy, _COPY_BYTES)
                copy.flush()
                os.fsync(copy.fileno())
            temporary.rename(destination)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    sync_directory(destination.parent)
    return destination


def _not_exported(owner: Client, file: StoredFile, cause: object) -> StorageError:
    return StorageError(f"cannot export {file.name!r} of {owner.name!r}: {cause}")


def _directory_name(owner: Client) -> str:
    """The client's name; its id where that is no file name, hidden, or could be another's id."""
    try:
        check_file_name(owner.name)
    except UnsafeName:
        return owner.id.hex()
    if owner.name.startswith(".") or _ID.fullmatch(owner.name):
        return owner.id.hex()
    return owner.name


def _files(repository: Repository, client: str | None) -> Iterator[tuple[Client, StoredFile]]:
    found = False
    for owner in repository.clients():
        if client in (None, owner.name, owner.id.hex()):
            found = True
            for file in repository.files(owner.id):
                yield owner, file
    if client is not None and not found:
        raise ConfigurationError(f"no client {client!r}: see `clients list`")


def _when(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
