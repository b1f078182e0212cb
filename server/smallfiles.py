"""Small files of protocol 4 (section 5.2): many in one message, made durable many together.

They are complete and verified before a byte of them is written, so they are written to their
objects' places at once. All of a batch share one sync of the file system and one transaction; those
of one *put* share a signature. What is refused is refused for each file.
"""

import hashlib
import hmac
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from protocol.errors import ProtocolError, UnsafeName
from protocol.merkle import MerkleTree
from protocol.messages4 import Outcomes, Put, Stored
from protocol.names import check_path
from protocol.receipts import ReceiptBodies, pack_receipts
from protocol.responses4 import SIGNATURE_BYTES
from protocol.smallfiles import SmallFile, pack_outcomes, sealed_bytes, unpack_files
from server.errors import DigestMismatch, FileExists, LimitReached, Refused, ServerError
from server.quota import Reservation
from server.receiptkey import ReceiptKey
from server.receiving import Receiver, new_object_id
from server.refusals import Failure, explain
from server.repository import Client, Event, Publication, Published, Repository, StoredFile
from server.sealing import open_files
from server.uploading import Uploads

F = TypeVar("F", bound=Failure)

Result = None | Stored | Failure
"""What became of a file: None when it is to be stored, or is stored now."""


@dataclass(slots=True)
class Arrived:
    """The files of one *put*, in their order, each with its result."""

    request_id: int
    client: Client
    files: list[SmallFile]
    results: list[Result]
    object_ids: list[bytes]
    message_bytes: int = 0
    """What table and content took in the message."""
    reservations: list[Reservation] = field(default_factory=list)
    received: int = 0
    signature: bytes = bytes(SIGNATURE_BYTES)

    @property
    def size(self) -> int:
        """Plain bytes of the files that are to be stored, or are stored now."""
        return sum(file.size for file, result in self.each() if result is None)

    def each(self) -> Iterable[tuple[SmallFile, Result]]:
        """Each file with its result."""
        return zip(self.files, self.results, strict=True)

    def outcomes(self) -> Outcomes:
        """The answer."""
        table = pack_outcomes(
            explain(result) if isinstance(result, Exception) else result for result in self.results
        )
        return Outcomes(self.received, self.signature, table)


_Placed = tuple[Arrived, int]
"""A file that is written, by its place in its *put*."""


@dataclass(slots=True)
class _Signed:
    """Receipts by object, and time and signature by the identity of their *put*."""

    by_object: dict[bytes, bytes] = field(default_factory=dict)
    by_put: dict[int, tuple[int, bytes]] = field(default_factory=dict)


class SmallFiles:
    """All small files of one server."""

    def __init__(
        self,
        uploads: Uploads,
        receiver: Receiver,
        repository: Repository,
        receipt_key: ReceiptKey,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._uploads = uploads
        self._receiver = receiver
        self._repository = repository
        self._receipt_key = receipt_key
        self._now = now

    def take(self, request_id: int, client: Client, put: Put, secret: bytes) -> Arrived:
        """Verifies the files of a *put* and writes them; what is wrong with one is its result.

        Raises `ProtocolError` and `BadSegment`, which are about the whole.
        """
        files = unpack_files(put.table)
        if sealed_bytes(files) != len(put.sealed):
            raise ProtocolError("the sizes of the files are not that of their content")
        plain = open_files(secret, put.salt, client.id, put.table, memoryview(put.sealed))
        arrived = Arrived(
            request_id, client, files, [None] * len(files), [b""] * len(files),
            len(put.table) + len(put.sealed),
        )  # fmt: skip
        good: list[tuple[int, memoryview]] = []
        at = 0
        for index, file in enumerate(files):
            content = plain[at : at + file.size]
            at += file.size
            try:
                self._check(client, file, content)
            except (ServerError, UnsafeName) as error:
                arrived.results[index] = self._instead(client, file, error)
            else:
                good.append((index, content))
        try:
            if good := self._reserve(arrived, good):
                self._place(arrived, good)
        except BaseException:  # whatever it was, the room is free again
            _release([arrived])
            raise
        return arrived

    def _check(self, client: Client, file: SmallFile, content: memoryview) -> None:
        check_path(file.name)
        if self._uploads.is_begun((client.id, file.upload_id)):
            self._uploads.abandon(client, file.upload_id)
        self._uploads.check_policy(client, file.name, file.policy, file.modified)
        if not hmac.compare_digest(hashlib.sha256(content).digest(), file.sha256):
            raise DigestMismatch("SHA-256 differs from what the client read")

    def _instead(self, client: Client, file: SmallFile, error: Failure) -> Result:
        """The error, or the receipt of a file that was stored before and is in its own way now."""
        if isinstance(error, FileExists | LimitReached):
            try:
                return self._uploads.receipt_of(client, file.upload_id) or _alone(error)
            except ServerError as failure:
                return _alone(failure)
        return _alone(error)

    def _reserve(
        self, arrived: Arrived, good: list[tuple[int, memoryview]]
    ) -> list[tuple[int, memoryview]]:
        """Room for all at once or, where that is refused, for as many as there is room for."""
        quota, client = self._receiver.quota, arrived.client
        try:
            sizes = [len(content) for _, content in good]
            if sizes:
                arrived.reservations.append(quota.reserve_files(client.id, sizes))
            return good
        except LimitReached:
            pass
        except ServerError as error:
            for index, _ in good:
                arrived.results[index] = _alone(error)
            return []
        fitting = []
        for index, content in good:
            file = arrived.files[index]
            try:
                arrived.reservations.append(quota.reserve(client.id, file.name, file.size))
            except ServerError as error:
                arrived.results[index] = self._instead(client, file, error)
            else:
                fitting.append((index, content))
        return fitting

    def _place(self, arrived: Arrived, good: list[tuple[int, memoryview]]) -> None:
        contents = []
        for index, content in good:
            object_id = arrived.object_ids[index] = new_object_id()
            contents.append((object_id, content))
        failures: Sequence[ServerError | None]
        try:
            failures = self._uploads.storage.place(arrived.client.id, contents)
        except ServerError as error:
            failures = [_alone(error)] * len(contents)
        for (index, _), failure in zip(good, failures, strict=True):
            arrived.results[index] = failure
        for reservation in arrived.reservations:
            reservation.write(reservation.bytes)

    def make_durable(self, batch: Sequence[Arrived]) -> None:
        """Puts what was written of one client's *puts* on the disk; `publish` comes after it."""
        placed = _placed(batch)
        if not placed:
            return
        storage, client_id = self._uploads.storage, batch[0].client.id
        object_ids = [arrived.object_ids[index] for arrived, index in placed]
        try:
            storage.make_durable(client_id, object_ids)
        except BaseException as error:  # whatever it was, nothing of the batch stays
            for object_id in object_ids:
                storage.take_back(client_id, object_id)
            if not isinstance(error, ServerError):
                _release(batch)
                raise
            _fail(placed, error)

    def publish(self, batch: Sequence[Arrived], event: Event) -> None:
        """Makes what is durable of one client's *puts* visible together, and fills in the results.
        The `event` tells the audit trail who does it."""
        try:
            if placed := _placed(batch):
                self._publish(placed, event)
        finally:
            _release(batch)

    def _publish(self, placed: Sequence[_Placed], event: Event) -> None:
        client = placed[0][0].client
        keys = {(client.id, arrived.files[index].upload_id) for arrived, index in placed}
        # Another connection may have begun these uploads since they came: what that one has staged
        # would otherwise be left, and counted nowhere.
        try:
            with self._uploads.turns.of(*keys):
                for key in filter(self._uploads.is_begun, keys):
                    self._uploads.give_up(key)
                signed, published = self._commit(client, placed, event)
        except BaseException as error:  # whatever it was, the database may have been faster
            for arrived, index in placed:
                file = arrived.files[index]
                self._receiver.in_doubt.add(
                    client.id, arrived.object_ids[index], file.name, file.size
                )
            if not isinstance(error, ServerError):
                raise
            _fail(placed, error)
            return
        for (arrived, index), result in zip(placed, published, strict=True):
            arrived.results[index] = self._result(arrived, index, result, signed)
            if arrived.results[index] is None:
                # Not before: whoever has a signature has receipts for all that it covers.
                arrived.received, arrived.signature = signed.by_put[id(arrived)]

    def _commit(
        self, client: Client, placed: Sequence[_Placed], event: Event
    ) -> tuple[_Signed, list[Published]]:
        """What was signed by the attempt that was committed, and what became of each file."""
        received = int(self._now())
        by_object = {arrived.object_ids[index]: (arrived, index) for arrived, index in placed}
        signed = _Signed()

        def sign(accepted: Sequence[Publication]) -> list[bytes]:
            signed.by_object.clear()
            signed.by_put.clear()
            puts: dict[int, list[_Placed]] = defaultdict(list)
            for each in accepted:
                arrived, index = by_object[each.file.object_id]
                puts[id(arrived)].append((arrived, index))
            for files in puts.values():
                self._sign(client, files, received, signed)
            return [signed.by_object[each.file.object_id] for each in accepted]

        publications = [_publication(*each, received) for each in placed]
        return signed, self._repository.publish(publications, sign, event)

    def _sign(
        self, client: Client, files: Sequence[_Placed], received: int, signed: _Signed
    ) -> None:
        bodies = ReceiptBodies(self._receipt_key.public, client.id, client.name)
        packed = [bodies.pack(arrived.files[index], received) for arrived, index in files]
        tree = MerkleTree(packed)
        signature = self._receipt_key.sign_root(len(packed), tree.root)
        put = files[0][0]
        signed.by_put[id(put)] = received, signature
        object_ids = [put.object_ids[index] for _, index in files]
        signed.by_object |= zip(object_ids, pack_receipts(packed, tree, signature), strict=True)

    def _result(
        self, arrived: Arrived, index: int, published: Published, signed: _Signed
    ) -> Result:
        object_id, name = arrived.object_ids[index], arrived.files[index].name
        try:
            receipt = self._uploads.settle(arrived.client.id, object_id, name, published)
        except (FileExists, Refused) as error:
            return _alone(error)
        return None if receipt == signed.by_object.get(object_id) else Stored.unpack(receipt)


def _publication(arrived: Arrived, index: int, received: int) -> Publication:
    file = arrived.files[index]
    stored = StoredFile(
        arrived.client.id, file.name, arrived.object_ids[index], file.size, None, received,
        file.sha256, file.modified, file.mode,
    )  # fmt: skip
    return Publication(stored, file.upload_id, file.policy)


def _placed(batch: Sequence[Arrived]) -> list[_Placed]:
    return [
        (arrived, index)
        for arrived in batch
        for index, result in enumerate(arrived.results)
        if result is None
    ]


def _fail(placed: Sequence[_Placed], error: ServerError) -> None:
    for arrived, index in placed:
        arrived.results[index] = _alone(error)


def _alone(error: F) -> F:
    """The error without the frames that it came through: results wait for those of other files,
    and the frames hold the content of theirs, and the results, in a circle."""
    error.__cause__ = error.__context__ = None
    error.with_traceback(None)
    return error


def _release(batch: Sequence[Arrived]) -> None:
    for arrived in batch:
        for reservation in arrived.reservations:
            reservation.release()
