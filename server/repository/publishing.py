"""How a batch of files becomes visible: read what is there, decide in memory, write it at once.

A batch takes the turn of each of its clients first, so nothing that was read changes before the
commit, and it costs as many statements for 256 files as for one.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace

from protocol.messages4 import Policy
from server.repository.records import Event, Publication, Published, Sign, StoredFile
from server.repository.trail import append
from server.repository.transactions import (
    Dialect,
    Parameter,
    Transaction,
    by_client,
    change_rows,
    lock_all,
    name_bytes,
    rows_of,
)

# Stands for the receipt of what this batch completes, until all of that is known.
_UNSIGNED = b""

REFUSED = "FileExists"
"""The outcome in the audit trail of what a policy forbids."""

# (client id, bytes of the file's name), or (client id, upload id)
Key = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Visible:
    """What is there under a name; `modified` in nanoseconds since 1970 UTC, at the latest."""

    object_id: bytes
    modified: int


@dataclass(frozen=True, slots=True)
class _Upload:
    """What is known of an upload; the receipt is None while it is pending."""

    object_id: bytes
    begun_at: int
    receipt: bytes | None


class Batch:
    """One call of `publish`, which remembers what its earlier attempts saw under each name.

    The memory decides the case of a commit whose outcome is unknown: by the time it is repeated,
    another file may have replaced ours and its sweep may have removed our bytes, so publishing
    ours again would put a name on nothing and sweep the newer, acknowledged file. With protocol 4
    the upload's own row tells whether the commit succeeded."""

    def __init__(
        self,
        publications: Sequence[Publication],
        dialect: Dialect,
        sign: Sign | None,
        event: Event | None,
    ) -> None:
        self._publications = tuple(publications)
        self._dialect = dialect
        self._sign = sign
        self._event = event
        self._seen: dict[bytes, bytes | None] = {}

    def __call__(self, transaction: Transaction) -> list[Published]:
        lock_all(transaction, self._dialect, (each.file.client_id for each in self._publications))
        plan = _Plan(_read(transaction, self._publications, self._seen), self._seen)
        results = [plan.publish(each) for each in self._publications]
        if plan.completed:
            results = self._with_receipts(plan, results)
        plan.write(transaction)
        append(
            transaction, self._dialect, _events(self._event, self._publications, results, plan.sees)
        )
        self._seen |= plan.sees
        return results

    def _with_receipts(self, plan: "_Plan", results: list[Published]) -> list[Published]:
        if self._sign is None:
            raise ValueError("an upload is completed with a receipt")
        fresh = [publication for publication, _ in plan.completed.values()]
        plan.receipts = dict(zip(plan.completed, self._sign(fresh), strict=True))
        return [
            result
            if key is None or result.receipt != _UNSIGNED
            else Published(result.superseded, receipt=plan.receipts[key])
            for key, result in zip(map(_upload, self._publications), results, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _State:
    """What the database holds of that which a batch may meet. `elsewhere` are objects of the batch
    that have a name already, asked for only when it is repeated."""

    files: dict[Key, _Visible]
    uploads: dict[Key, _Upload]
    superseded: set[bytes]
    elsewhere: set[bytes]


def _read(
    transaction: Transaction, publications: Sequence[Publication], seen: dict[bytes, bytes | None]
) -> _State:
    files: dict[Key, _Visible] = {}
    for client_id, names in by_client(_name(each.file) for each in publications).items():
        for name, object_id, modified, received_at in rows_of(
            transaction,
            "SELECT file_name, object_id, modified, received_at FROM files "
            "WHERE client_id = ? AND file_name IN (?, ...)",
            names,
            client_id,
        ):
            files[client_id, bytes(name)] = _Visible(
                bytes(object_id), _latest_change(modified, received_at)
            )
    uploads: dict[Key, _Upload] = {}
    wanted = [_upload(each) for each in publications]
    for client_id, ids in by_client(key for key in wanted if key is not None).items():
        for upload_id, object_id, begun_at, receipt in rows_of(
            transaction,
            "SELECT upload_id, object_id, begun_at, receipt FROM uploads "
            "WHERE client_id = ? AND upload_id IN (?, ...)",
            ids,
            client_id,
        ):
            uploads[client_id, bytes(upload_id)] = _Upload(
                bytes(object_id), begun_at, None if receipt is None else bytes(receipt)
            )
    ours = [each.file.object_id for each in publications]
    replaced = [object_id for object_id in seen.values() if object_id is not None]
    superseded = rows_of(
        transaction,
        "SELECT object_id FROM superseded WHERE object_id IN (?, ...)",
        ours + replaced,
    )
    elsewhere = rows_of(
        transaction,
        "SELECT object_id FROM files WHERE object_id IN (?, ...)",
        ours if seen else [],
    )
    return _State(
        files=files,
        uploads=uploads,
        superseded={bytes(row[0]) for row in superseded},
        elsewhere={bytes(row[0]) for row in elsewhere},
    )


@dataclass(slots=True)
class _Plan:
    """What the batch will change. `state` is kept as it would be after each publication; `seen` is
    what earlier attempts saw under the names, by the object that was to be published."""

    state: _State
    seen: dict[bytes, bytes | None]
    sees: dict[bytes, bytes | None] = field(default_factory=dict)
    stored_files: set[Key] = field(init=False)
    stored_uploads: set[Key] = field(init=False)
    files: dict[Key, StoredFile] = field(default_factory=dict)
    superseded: list[Key] = field(default_factory=list)
    ended: set[Key] = field(default_factory=set)
    completed: dict[Key, tuple[Publication, int]] = field(default_factory=dict)
    receipts: dict[Key, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stored_files = set(self.state.files)
        self.stored_uploads = set(self.state.uploads)

    def publish(self, publication: Publication) -> Published:
        file = publication.file
        upload = self._known_upload(publication)
        current = self.state.files.get(_name(file))
        there = current.object_id if current else None
        receipt = None
        if upload and upload.receipt is not None:
            receipt = upload.receipt
            if upload.object_id != file.object_id:
                return self._discard(file, receipt)
        elif not self._is_done(file.object_id, there):
            if self._was_lost(publication, there):
                return self._discard(file, receipt)
            if current and not _allows(publication.policy, current, file):
                return self._refuse(publication)
            self._show(publication, current)
            return Published(there, receipt=self._complete(publication))
        return Published(self._still_superseded(file), receipt=receipt)

    def _known_upload(self, publication: Publication) -> _Upload | None:
        key = _upload(publication)
        return None if key is None else self.state.uploads.get(key)

    def _is_done(self, object_id: bytes, there: bytes | None) -> bool:
        return (
            object_id == there
            or object_id in self.state.superseded
            or object_id in self.state.elsewhere
        )

    def _was_lost(self, publication: Publication, there: bytes | None) -> bool:
        """Whether ours may have been visible, replaced and swept since the first attempt. Where an
        upload is not complete we know that it was not."""
        object_id = publication.file.object_id
        return (
            publication.upload_id is None
            and object_id in self.seen
            and self.seen[object_id] != there
        )

    def _still_superseded(self, file: StoredFile) -> bytes | None:
        """What an earlier attempt replaced, unless it was swept or got another name since."""
        replaced = self.seen.get(file.object_id)
        return replaced if replaced in self.state.superseded else None

    def _show(self, publication: Publication, current: _Visible | None) -> None:
        file = publication.file
        key = _name(file)
        if current:
            self._supersede(current.object_id, file.client_id)
        self.sees[file.object_id] = current.object_id if current else None
        self.files[key] = file
        self.state.files[key] = _Visible(
            file.object_id, _latest_change(file.modified, file.received_at)
        )

    def _complete(self, publication: Publication) -> bytes | None:
        key = _upload(publication)
        if key is None:
            return None
        file = publication.file
        begun = self.state.uploads.get(key)
        begun_at = begun.begun_at if begun else file.received_at
        self.state.uploads[key] = _Upload(file.object_id, begun_at, _UNSIGNED)
        self.ended.add(key)
        self.completed[key] = (publication, begun_at)
        return _UNSIGNED

    def _refuse(self, publication: Publication) -> Published:
        key = _upload(publication)
        if key is not None:
            self.state.uploads.pop(key, None)
            self.ended.add(key)
        return Published(None, refused=True)

    def _discard(self, file: StoredFile, receipt: bytes | None) -> Published:
        """Ours is not needed: its bytes are to go."""
        if file.object_id not in self.state.superseded:
            self._supersede(file.object_id, file.client_id)
        return Published(file.object_id, receipt=receipt)

    def _supersede(self, object_id: bytes, client_id: bytes) -> None:
        self.state.superseded.add(object_id)
        self.superseded.append((object_id, client_id))

    def write(self, transaction: Transaction) -> None:
        for client_id, names in by_client(self.stored_files & self.files.keys()).items():
            change_rows(
                transaction,
                "DELETE FROM files WHERE client_id = ? AND file_name IN (?, ...)",
                names,
                client_id,
            )
        transaction.insert(
            "INSERT INTO files (client_id, file_name, object_id, path_name, verified, size, cksum, "
            "received_at, sha256, modified, mode) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)",
            [_file_row(file) for file in self.files.values()],
        )
        supersede(transaction, self.superseded)
        # Pending rows are replaced instead of altered: most uploads of a batch never had one.
        for client_id, ids in by_client(self.stored_uploads & self.ended).items():
            change_rows(
                transaction,
                "DELETE FROM uploads WHERE client_id = ? AND upload_id IN (?, ...)",
                ids,
                client_id,
            )
        transaction.insert(
            "INSERT INTO uploads (client_id, upload_id, object_id, file_name, size, modified, "
            "mode, policy, begun_at, receipt, received_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [_upload_row(*each, self.receipts[key]) for key, each in self.completed.items()],
        )


def _events(
    event: Event | None,
    publications: Sequence[Publication],
    results: Sequence[Published],
    shown: Container[bytes],
) -> list[Event]:
    """What the audit trail is told: one row for all files, since a row for each would cost a small
    file as much as its name does. `shown` are the objects that became visible now: the others were
    told of when they did."""
    if event is None:
        return []
    stored, refused = [], []
    for each, result in zip(publications, results, strict=True):
        if result.refused:
            refused.append(each.file)
        elif each.file.object_id in shown:
            stored.append(each.file)
    events = [_told(event, stored)] if stored else []
    if refused:
        # Another id, and the same one whenever the transaction is repeated.
        other = bytes((*event.id[:-1], event.id[-1] ^ 1))
        events.append(_told(replace(event, outcome=REFUSED, id=other), refused))
    return events


def _told(event: Event, files: Sequence[StoredFile]) -> Event:
    names = tuple(file.name for file in files)
    return replace(event, subjects=names, size=sum(file.size for file in files))


def supersede(transaction: Transaction, objects: Sequence[tuple[bytes, bytes]]) -> None:
    """Remembers objects, each with its client, that no name leads to any more."""
    transaction.insert("INSERT INTO superseded (object_id, client_id) VALUES (?, ?)", objects)


def _name(file: StoredFile) -> Key:
    return file.client_id, name_bytes(file.name)


def _upload(publication: Publication) -> Key | None:
    if publication.upload_id is None:
        return None
    return publication.file.client_id, publication.upload_id


def _latest_change(modified: int | None, received_at: int) -> int:
    # Protocol 3 does not tell when a file was modified: not after it was received.
    return received_at * 1_000_000_000 if modified is None else modified


def _allows(policy: Policy, current: _Visible, file: StoredFile) -> bool:
    if policy is Policy.IF_OLDER:
        return current.modified < _latest_change(file.modified, file.received_at)
    return policy is Policy.ALWAYS


def _file_row(file: StoredFile) -> tuple[Parameter, ...]:
    return (
        file.client_id,
        name_bytes(file.name),
        file.object_id,
        f"{file.client_id.hex()}/{file.object_id.hex()}",
        file.size,
        file.cksum,
        file.received_at,
        file.sha256,
        file.modified,
        file.mode,
    )


def _upload_row(publication: Publication, begun_at: int, receipt: bytes) -> tuple[Parameter, ...]:
    file = publication.file
    return (
        file.client_id,
        publication.upload_id,
        file.object_id,
        name_bytes(file.name),
        file.size,
        file.modified,
        file.mode,
        int(publication.policy),
        begun_at,
        receipt,
        file.received_at,
    )
