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
from server.errors import ConfigurationError, StorageError
from server.repository import Client, Repository, StoredFile, open_repository
from server.storage.durability import sync_directory

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
        path = data / owner.id.hex() / file.upload_id.hex()
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
    repository: Repository, data: Path, target: Path, *, client: str | None
) -> Iterator[Path]:
    """Copies every file to `<target>/<client name>/<file name>` and yields each path.

    Raises `StorageError`; a copy is complete and durable before it has its name.
    """
    for owner, file in _files(repository, client):
        try:
            check_file_name(file.name)
        except UnsafeName as error:
            raise StorageError(f"cannot export: {error}") from error
        destination = target / _directory_name(owner) / file.name
        temporary = destination.with_name(f".{file.upload_id.hex()}.partial")
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / owner.id.hex() / file.upload_id.hex(), temporary)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.rename(destination)
            sync_directory(destination.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise StorageError(f"cannot export {destination}: {error.strerror}") from error
        yield destination


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
