"""What operators ask of what is kept: lists of clients, files and events, and copies of files under
the clients' own names."""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from protocol.channel import format_fingerprint
from protocol.errors import UnsafeName
from protocol.names import check_file_name, check_path
from server.config import Config
from server.durability import make_directory, sync_directory
from server.errors import ConfigurationError, StorageError
from server.repository import (
    Client,
    Event,
    Repository,
    SchemaTooOld,
    StoredFile,
    open_repository,
)
from server.storage import DirectoryStorage, object_path

_COPY_BYTES = 2**20
MICROSECONDS = 1_000_000

Printer = Callable[[str], None]

_ID = re.compile(r"[0-9a-f]{32}", re.IGNORECASE)


def open_existing(config: Config, *, alone: bool = False) -> Repository:
    """The configured repository; raises `ConfigurationError` rather than make an empty one.

    An older schema is brought up to date only where no server runs, whose tables they may be, which
    the data directory's lock tells: else `SchemaTooOld` is raised. `alone` is for a caller that
    holds the lock.
    """
    password = config.database_password(os.environ)
    opened = partial(open_repository, config.database_url, password=password, create=False)
    try:
        return opened(upgrade=alone)
    except SchemaTooOld as error:
        with _nobody_serving(config, error):
            return opened()


@contextlib.contextmanager
def _nobody_serving(config: Config, refusal: SchemaTooOld) -> Iterator[None]:
    """Keeps servers from starting; raises what was refused, with its remedy, when one runs."""
    try:
        storage, live = DirectoryStorage.watching(config.data)
    except ConfigurationError as error:
        raise SchemaTooOld(
            f"{refusal}, and whether a server runs on it cannot be told ({error}): start the server"
            " of this version once, or give the --data of the server that uses the database"
        ) from refusal
    with contextlib.closing(storage):
        if live:
            raise SchemaTooOld(
                f"{refusal}, and a server is running on it: stop that server, then start the one"
                " of this version or give the command again"
            ) from refusal
        yield


def find_client(repository: Repository, name_or_id: str) -> Client:
    """The client that the operator means; raises `ConfigurationError` when that is not clear."""
    named = repository.find_client_by_name(name_or_id)
    is_id = _ID.fullmatch(name_or_id)
    of_id = repository.find_client(bytes.fromhex(name_or_id)) if is_id else None
    if named is not None and of_id is not None and named != of_id:
        # Anybody may register under another client's id as a name.
        raise ConfigurationError(
            f"{name_or_id} is the id of client {of_id.name!r} and the name of client "
            f"{named.id.hex()}: give the one's name or the other's id"
        )
    found = named or of_id
    if found is None:
        raise unknown_client(name_or_id)
    return found


def unknown_client(name_or_id: str) -> ConfigurationError:
    """The error about a client that does not exist."""
    return ConfigurationError(f"no client {name_or_id!r}: see `clients list`")


def list_clients(repository: Repository, show: Printer, *, as_json: bool) -> None:
    """Prints each client: id, last seen, whether it is disabled, name."""
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
                        "disabled": client.disabled,
                    }
                )
            )
        else:
            mark = "DISABLED  " if client.disabled else ""
            show(f"{client.id.hex()}  {format_time(client.last_seen)}  {mark}{client.name}")


def show_client(repository: Repository, show: Printer, name_or_id: str, *, as_json: bool) -> None:
    """Prints what is known of a client. Its key is shown as `SHA256:` of the DER."""
    client = find_client(repository, name_or_id)
    usage, unfinished = repository.usage(client.id), repository.pending_of(client.id)
    key = client.public_key
    fingerprint = None if key is None else format_fingerprint(hashlib.sha256(key).digest())
    if as_json:
        show(
            json.dumps(
                {
                    "id": client.id.hex(),
                    "name": client.name,
                    "disabled": client.disabled,
                    "key": fingerprint,
                    "files": usage.files,
                    "bytes": usage.size,
                    "unfinished_uploads": unfinished.files,
                    "registered_at": client.registered_at,
                    "last_seen": client.last_seen,
                }
            )
        )
    else:
        _show_fields(
            show,
            ("id", client.id.hex()),
            ("name", client.name),
            ("state", "disabled" if client.disabled else "enabled"),
            ("key", fingerprint or "none yet"),
            ("files", usage.files),
            ("bytes", usage.size),
            ("unfinished", unfinished.files),
            ("registered", format_time(client.registered_at)),
            ("last seen", format_time(client.last_seen)),
        )


def list_files(
    repository: Repository, data: Path, show: Printer, *, as_json: bool, client: str | None
) -> None:
    """Prints each file: size, checksum, time, path of the bytes, client and name."""
    for owner, file in _files(repository, client):
        path = object_path(data, owner.id, file.object_id)
        if as_json:
            show(_file_as_json(owner, file, path))
        else:
            checksum = "-" if file.cksum is None else file.cksum
            show(
                f"{file.size:>12}  {checksum:>10}  {format_time(file.received_at)}  {path}"
                f"  {owner.name}/{file.name}"
            )


def show_file(
    repository: Repository, data: Path, show: Printer, client: str, name: str, *, as_json: bool
) -> None:
    """Prints what is known of a file; what its protocol does not tell is left out."""
    owner = find_client(repository, client)
    file = repository.find_file(owner.id, name)
    if file is None:
        raise ConfigurationError(f"{owner.name!r} has no file {name!r}: see `files list`")
    path = object_path(data, owner.id, file.object_id)
    if as_json:
        show(_file_as_json(owner, file, path))
        return
    modified = None if file.modified is None else format_time(file.modified // 10**9)
    _show_fields(
        show,
        ("client", owner.name),
        ("name", file.name),
        ("size", file.size),
        ("sha256", file.sha256 and file.sha256.hex()),
        ("cksum", file.cksum),
        ("modified", modified),
        ("mode", None if file.mode is None else f"{file.mode:04o}"),
        ("received", format_time(file.received_at)),
        ("path", path),
    )


def _file_as_json(owner: Client, file: StoredFile, path: Path) -> str:
    return json.dumps(
        {
            "client": owner.name,
            "name": file.name,
            "size": file.size,
            "cksum": file.cksum,
            "sha256": file.sha256 and file.sha256.hex(),
            "modified_ns": file.modified,
            "mode": None if file.mode is None else f"{file.mode:04o}",
            "received_at": file.received_at,
            "path": str(path),
        }
    )


def _show_fields(show: Printer, *fields: tuple[str, object]) -> None:
    for label, value in fields:
        if value is not None:
            show(f"{label:<11} {value}")


def check_target(data: Path, target: Path) -> None:
    """Makes the directory of an export; raises `ConfigurationError` where it cannot be one."""
    if target.resolve().is_relative_to(data.resolve()):
        raise ConfigurationError(
            f"cannot export to {target}: it lies in the data directory; name another one"
        )
    try:
        make_directory(target)
        next(target.iterdir(), None)
    except OSError as error:
        raise ConfigurationError(f"cannot export to {target}: {error.strerror}") from error


def export_files(
    repository: Repository,
    data: Path,
    target: Path,
    failed: Callable[[StorageError], None],
    *,
    client: str | None,
) -> Iterator[Path]:
    """Copies every file to `<target>/<client name>/<file name>`, directories and all, and yields
    each path.

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
    # A name of protocol 4 may have directories in it. What Windows forbids is harmless here.
    check = check_path if file.cksum is None else check_file_name
    check(file.name)
    destination = target / _directory_name(owner) / file.name
    temporary = destination.with_name(f".{file.object_id.hex()}.partial")
    with object_path(data, owner.id, file.object_id).open("rb") as source:
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
        raise unknown_client(client)


def list_events(
    repository: Repository,
    show: Printer,
    *,
    client: str | None,
    since: int,
    as_json: bool,
) -> None:
    """Prints the audit trail from `since` (seconds since 1970 UTC), or what of it is about the
    client of this name, which may have been removed."""
    for event in repository.events(since * MICROSECONDS, client):
        if as_json:
            show(_event_as_json(event))
        else:
            for line in _event_as_text(event):
                show(line)


def _event_as_text(event: Event) -> Iterator[str]:
    """A line, or one for each of several files."""
    parts = (
        format_time(event.at // MICROSECONDS),
        event.action.value,
        event.outcome,
        event.client or (event.client_id.hex() if event.client_id else "-"),
        event.address or f"operator {event.operator}",
    )
    several = f" in {len(event.subjects)} files" if len(event.subjects) > 1 else ""
    size = "" if event.size is None else f"{event.size} bytes{several}"
    target = "" if event.target is None else f" -> {event.target}"
    for subject in event.subjects or ("",):
        shown = [*parts, f"{subject}{target}", size]
        yield "  ".join(_escaped(part) for part in shown if part)


def _event_as_json(event: Event) -> str:
    return json.dumps(
        {
            "at": event.at / MICROSECONDS,
            "action": event.action,
            "outcome": event.outcome,
            "client": event.client,
            "client_id": event.client_id and event.client_id.hex(),
            "address": event.address or None,
            "operator": event.operator or None,
            "subjects": event.subjects,
            "target": event.target,
            "size": event.size,
        }
    )


def _escaped(text: str) -> str:
    """The text with everything escaped that could steer a terminal: a name that was refused may
    hold anything."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def format_time(seconds: int) -> str:
    """Seconds since 1970 UTC as people read them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
