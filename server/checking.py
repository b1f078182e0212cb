"""`check`: whether database and data directory agree, and the bytes are those that were received.

While a server runs some things are on their way: an object has its place a moment before the
database knows it, and a file may be replaced while it is looked at. So a row is read again before
it is called wrong, and what is too young to tell is counted as undecided.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from enum import StrEnum

import fastcrc.crc32

from protocol.cksum import Cksum
from server.config import Config
from server.errors import ConfigurationError, StorageError
from server.holding import Holding
from server.inspection import open_existing
from server.pairing import check_pair, refuse_older
from server.receiving import Receiver
from server.repository import Client, Repository, StoredFile
from server.storage import DirectoryStorage

_PIECE_BYTES = 2**20
_SETTLED_SECONDS = 600.0
"""An object that old is not on its way any more: commits are tried for less than a minute."""


class Kind(StrEnum):
    """What can be wrong."""

    MISSING = "missing"
    """A file whose object is not there."""
    ASIDE = "set aside"
    """A file whose object lies in orphans."""
    SIZE = "another size"
    CONTENT = "another content"
    """A file whose bytes have another SHA-256 or checksum."""
    UNREADABLE = "unreadable"
    UNKNOWN_OBJECT = "unknown object"
    """An object that no row knows."""
    UNKNOWN_STAGED = "unknown staged file"
    """A staged file that no upload knows."""
    LOST_UPLOAD = "upload without its staged file"
    SUPERSEDED = "superseded object"
    """An object that no name leads to any more and that is still to be removed."""


REPAIRABLE = frozenset(
    (Kind.ASIDE, Kind.UNKNOWN_OBJECT, Kind.UNKNOWN_STAGED, Kind.LOST_UPLOAD, Kind.SUPERSEDED)
)
"""What `repair` mends: no acknowledged file hangs on it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong. `object_id` and `client_id` are in hexadecimal, as on the disk; `client` and
    `name` are None where no row tells them."""

    kind: Kind
    client_id: str | None
    object_id: str
    client: str | None = None
    name: str | None = None
    detail: str = ""


@dataclass(slots=True)
class Totals:
    """What was looked at; `undecided` is what only a server that does not run lets one tell."""

    clients: int = 0
    files: int = 0
    bytes: int = 0
    hashed: int = 0
    undecided: int = 0


@dataclass(slots=True)
class Check:
    """A check of one data directory. `live` says that a server may be changing it; `deep` that
    every object is read and its digest compared."""

    repository: Repository
    storage: DirectoryStorage
    live: bool
    deep: bool = False
    now: Callable[[], float] = time.time
    totals: Totals = field(default_factory=Totals)

    def problems(self) -> Iterator[Problem]:
        """Every problem, as it is found. Raises `StorageError` and `RepositoryError`."""
        yield from self._staged()
        # Listed before the rows are read: what gets its row in between is then known.
        listed = {
            client_id: set(self.storage.object_ids(client_id))
            for client_id in self.storage.client_ids()
        }
        for client in self.repository.clients():
            self.totals.clients += 1
            for file in self.repository.files(client.id):
                listed.get(client.id, set()).discard(file.object_id)
                self.totals.files += 1
                self.totals.bytes += file.size
                yield from self._file(client, file)
        superseded = self.repository.superseded()
        yield from self._superseded(superseded)
        known = {object_id for _, object_id in superseded}
        known |= {upload.object_id for upload in self.repository.pending_uploads()}
        for client_id, object_ids in sorted(listed.items()):
            if left := object_ids - known:
                # A file that got another name while the rows were read may have been missed.
                left -= {file.object_id for file in self.repository.files(client_id)}
                yield from self._unknown(client_id, sorted(left))

    def _staged(self) -> Iterator[Problem]:
        staged = set(self.storage.staged_ids())
        pending = {upload.object_id: upload for upload in self.repository.pending_uploads()}
        for object_id in sorted(staged - pending.keys()):
            if self.live:  # a small file, or one of protocol 3, that is being received
                self.totals.undecided += 1
            else:
                yield Problem(Kind.UNKNOWN_STAGED, None, object_id.hex())
        for object_id, upload in sorted(pending.items()):
            client_id = upload.client_id
            if object_id in staged or self.storage.size(client_id, object_id) is not None:
                continue
            if self.live:
                self.totals.undecided += 1
                continue
            yield Problem(
                Kind.LOST_UPLOAD, client_id.hex(), object_id.hex(), None, upload.name,
                "its client begins it anew",
            )  # fmt: skip

    def _file(self, client: Client, file: StoredFile) -> Iterator[Problem]:
        found = self._wrong(client, file)
        while found is not None and self.live:
            # A file that was replaced or removed meanwhile is no problem; its successor may be.
            newer = self.repository.find_file(client.id, file.name)
            if newer is None:
                return
            if newer.object_id == file.object_id:
                break
            file = newer
            found = self._wrong(client, file)
        if found is not None:
            kind, detail = found
            yield Problem(
                kind, client.id.hex(), file.object_id.hex(), client.name, file.name, detail
            )

    def _wrong(self, client: Client, file: StoredFile) -> tuple[Kind, str] | None:
        size = self.storage.size(client.id, file.object_id)
        if size is None:
            aside = self.storage.is_aside(client.id, file.object_id)
            return (Kind.ASIDE if aside else Kind.MISSING), ""
        if size != file.size:
            return Kind.SIZE, f"{size} bytes instead of {file.size}"
        if not self.deep:
            return None
        try:
            return self._other_content(client, file)
        except StorageError as error:
            return Kind.UNREADABLE, str(error)

    def _other_content(self, client: Client, file: StoredFile) -> tuple[Kind, str] | None:
        sha256, cksum = hashlib.sha256(), Cksum(fastcrc.crc32.cksum)
        buffer = memoryview(bytearray(_PIECE_BYTES))
        for piece in self.storage.content(client.id, file.object_id, buffer):
            self.totals.hashed += len(piece)
            if file.sha256 is None:
                cksum.update(piece)
            else:
                sha256.update(piece)
        if file.sha256 is not None:
            if sha256.digest() != file.sha256:
                return Kind.CONTENT, f"SHA-256 {sha256.hexdigest()} and not {file.sha256.hex()}"
        elif file.cksum is not None and cksum.value != file.cksum:
            return Kind.CONTENT, f"checksum {cksum.value} and not {file.cksum}"
        return None

    def _superseded(self, superseded: list[tuple[bytes, bytes]]) -> Iterator[Problem]:
        for client_id, object_id in sorted(superseded):
            if self.live:  # a server that runs removes it within minutes
                self.totals.undecided += 1
            else:
                yield Problem(Kind.SUPERSEDED, client_id.hex(), object_id.hex())

    def _unknown(self, client_id: bytes, object_ids: list[bytes]) -> Iterator[Problem]:
        for object_id in object_ids:
            changed = self.storage.changed_at(client_id, object_id)
            if changed is None:
                continue  # removed since it was listed
            if self.live and changed > self.now() - _SETTLED_SECONDS:
                self.totals.undecided += 1
            else:
                yield Problem(Kind.UNKNOWN_OBJECT, client_id.hex(), object_id.hex())


def run(
    config: Config, show: Callable[[str], None], *, deep: bool, mend: bool, as_json: bool
) -> int:
    """Shows every problem and a last line about the whole; the exit status, 1 with problems.

    With `mend`, what can be mended is, and what is left counts. Raises `ServerError` when it cannot
    be checked, or mended because a server runs.
    """
    storage, live = DirectoryStorage.watching(config.data)
    with closing(storage), closing(open_existing(config, alone=not live)) as repository:
        check_pair(repository, config.data)
        if mend and live:
            raise ConfigurationError("a server is running: stop it before --repair")
        if mend:
            refuse_older(repository, config.data)
            repository.hold()
            with closing(Holding(repository)):
                for problem in Check(repository, storage, live).problems():
                    if problem.kind in REPAIRABLE:
                        show_problem(show, problem, as_json=as_json, mended=True)
                _mend(repository, storage, config)
        check, found = Check(repository, storage, live, deep), 0
        for problem in check.problems():
            found += 1
            show_problem(show, problem, as_json=as_json)
    _show_totals(show, check, found, as_json=as_json)
    return 1 if found else 0


def _mend(repository: Repository, storage: DirectoryStorage, config: Config) -> None:
    """What the server does at its start; and uploads whose staged file is gone are forgotten."""
    Receiver(repository, storage, config).recover()
    staged = set(storage.staged_ids())
    for upload in list(repository.pending_uploads()):
        object_id = upload.object_id
        if object_id not in staged and storage.size(upload.client_id, object_id) is None:
            repository.drop_upload(upload.client_id, upload.upload_id)


def show_problem(
    show: Callable[[str], None], problem: Problem, *, as_json: bool = False, mended: bool = False
) -> None:
    """Shows a problem as one line."""
    if as_json:
        show(json.dumps(asdict(problem) | {"mended": mended}))
        return
    where = "/".join(part for part in (problem.client_id, problem.object_id) if part)
    whose = "" if problem.name is None else f"  {problem.client or '?'}/{problem.name}"
    detail = f" ({problem.detail})" if problem.detail else ""
    show(f"{'mended: ' if mended else ''}{problem.kind}: {where}{whose}{detail}")


def _show_totals(show: Callable[[str], None], check: Check, found: int, *, as_json: bool) -> None:
    totals = asdict(check.totals)
    if as_json:
        show(json.dumps({"summary": True, "problems": found, "live": check.live, **totals}))
        return
    hashed = f", {check.totals.hashed} bytes read" if check.deep else ""
    undecided = (
        f"; {check.totals.undecided} things may be on their way, since a server is running"
        if check.totals.undecided
        else ""
    )
    show(
        f"{found or 'no'} problem{'' if found == 1 else 's'} in {check.totals.files} files of"
        f" {check.totals.clients} clients, {check.totals.bytes} bytes{hashed}{undecided}"
    )
