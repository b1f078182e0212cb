"""Uploads of protocol 4 (section 5): sealed segments to durable files, resumable and idempotent.

The order is that of `server.receiving`: content synced, renamed to its object, directory synced,
database committed, and only then the receipt. What a client sent before an interruption stays
staged under the object id that its row in `uploads` names.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from protocol.contexts import Direction
from protocol.errors import BadSegment
from protocol.messages4 import Begin, End, Policy, Stored
from protocol.receipts import ReceiptBody
from server.attempts import Attempt, Incoming, Key, Turns
from server.errors import (
    DigestMismatch,
    FileExists,
    Refused,
    ServerError,
    StorageError,
    TooLarge,
)
from server.quota import Reservation
from server.receiptkey import ReceiptKey
from server.receiving import Receiver, new_object_id
from server.repository import (
    Client,
    Event,
    Publication,
    Published,
    Repository,
    StoredFile,
    Upload,
)
from server.sealing import content_key
from server.segmentmemory import SegmentMemory

_log = logging.getLogger(__name__)


class Uploads:
    """All uploads of protocol 4 of one server."""

    def __init__(
        self,
        receiver: Receiver,
        repository: Repository,
        receipt_key: ReceiptKey,
        memory: SegmentMemory,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._memory = memory
        self.storage = receiver.storage
        self._receiver = receiver
        self._repository = repository
        self._receipt_key = receipt_key
        self._now = now
        self.turns = Turns()
        self._lock = threading.Lock()
        self._attempts: dict[Key, Attempt] = {}
        # What interrupted uploads have staged counts in the limits like what is stored.
        self._kept: dict[Key, Reservation] = {}
        for row in repository.pending_uploads():
            staged = self.storage.resume(row.client_id, row.object_id)
            staged.close()
            self._keep((row.client_id, row.upload_id), row.name, staged.size)

    def begin(self, client: Client, request: Begin, secret: bytes) -> Attempt | Stored:
        """Opens an attempt, or gives the receipt of an upload that was completed before.

        Raises `FileExists`, `LimitReached`, `StorageError` or `RepositoryError`.
        """
        key = (client.id, request.upload_id)
        with self.turns.of(key):
            # An attempt that was cut off may not have noticed: it gives its room back first.
            self._take_over(key)
            done = self.receipt_of(client, request.upload_id)
            if done is not None:
                self._release(key)
                return done
            self.check_policy(client, request.name, request.policy, request.modified)
            kept = self._kept.pop(key, None)
            if kept is not None:
                kept.release()
            try:
                opened = self._open(client, request, secret)
            except BaseException:  # whatever it was, what is staged still counts
                if kept is not None:
                    self._keep(key, kept.name, kept.bytes)
                raise
            if isinstance(opened, Attempt):
                with self._lock:
                    self._attempts[key] = opened
            return opened

    def _open(self, client: Client, request: Begin, secret: bytes) -> Attempt | Stored:
        reservation = self._receiver.quota.reserve(client.id, request.name, request.size)
        try:
            row = self._repository.begin_upload(self._row(client, request))
            if row.receipt is None and row.size != request.size:
                self._drop((client.id, request.upload_id))
                row = self._repository.begin_upload(self._row(client, request))
            if row.receipt is not None:
                reservation.release()
                return Stored.unpack(row.receipt)
            key = content_key(
                secret, request.salt, Direction.TO_SERVER, client.id, request.upload_id
            )
            return Attempt(
                self.storage, client, request, key, row.object_id, reservation, self._memory
            )
        except BaseException:  # whatever it was, the room is free again
            reservation.release()
            raise

    def finish(self, attempt: Attempt, end: End, event: Event) -> Stored:
        """Publishes the content of an attempt, which is over whatever comes of it.

        Raises `UnknownUpload` when it was taken over or is not complete, `DigestMismatch`,
        `FileExists`, `StorageError` or `RepositoryError`.
        """
        with self.turns.of(attempt.key):  # nobody resumes and cuts what is being published
            try:
                incoming = attempt.complete(end)
                published = self.publish(incoming, event)
            except BaseException as error:
                self._end(attempt, error)
                raise
            with self._lock:
                self._attempts.pop(attempt.key, None)
            attempt.end()
            receipt = self.settle(attempt.client.id, incoming.object_id, incoming.name, published)
        return Stored.unpack(receipt)

    def is_begun(self, key: Key) -> bool:
        """Whether there is an attempt at this upload, or something staged of it."""
        return key in self._attempts or key in self._kept

    def give_up(self, key: Key) -> None:
        """As `abandon`, in the turn of this upload; does not fail."""
        self._take_over(key)
        try:
            self._drop(key)
        except ServerError as error:  # it expires
            _log.warning("an upload that came to nothing stays for now: %s", error)

    def publish(self, incoming: Incoming, event: Event) -> Published:
        """Makes a file durable and visible; `settle` comes after it. The `event` tells the audit
        trail who does it.

        Raises `StorageError` when the disk failed: the content is discarded, since a second sync
        proves nothing. Raises `RepositoryError`: the object stays until its upload is begun again
        or the server starts anew.
        """
        try:
            self._put_in_place(incoming)
            return self._commit(incoming, event)
        finally:
            incoming.reservation.release()

    def settle(self, client_id: bytes, object_id: bytes, name: str, published: Published) -> bytes:
        """The packed receipt of an object that was to be published under this name; removes what no
        name leads to any more.

        Raises `FileExists`, and `Refused` without a receipt.
        """
        if published.refused:
            self._receiver.remove_superseded(client_id, object_id)
            raise FileExists(f"{name!r} is there already")
        if published.superseded is not None:
            self._receiver.remove_superseded(client_id, published.superseded)
        if published.receipt is None:
            raise Refused("the upload was published without a receipt")
        return published.receipt

    def _commit(self, incoming: Incoming, event: Event) -> Published:
        received = int(self._now())

        def sign(accepted: Sequence[Publication]) -> list[bytes]:
            return [self._sign(incoming, received) for _ in accepted]

        (published,) = self._repository.publish(
            [self._publication(incoming, received)], sign, event
        )
        return published

    def _put_in_place(self, incoming: Incoming) -> None:
        try:
            incoming.staged.sync()
            incoming.staged.close()
            self.storage.publish(incoming.client.id, incoming.object_id)
        except BaseException:  # whatever it was, nothing of the file stays
            incoming.staged.discard()
            with contextlib.suppress(ServerError):
                self.storage.remove(incoming.client.id, incoming.object_id)
            raise

    def abandon(self, client: Client, upload_id: bytes) -> None:
        """Gives an upload up and removes what is staged of it."""
        key = (client.id, upload_id)
        with self.turns.of(key):
            self._take_over(key)
            self._drop(key)

    def expire(self, seconds: float) -> int:
        """Forgets uploads that are older, but those under way; returns how many were pending."""
        before = int(self._now() - seconds)
        self._repository.forget_completed_uploads(before)
        forgotten = 0
        over = set(self._kept)
        for row in self._repository.pending_uploads():
            key = (row.client_id, row.upload_id)
            over.discard(key)
            if row.begun_at >= before:
                continue
            with self.turns.of(key):
                if key not in self._attempts:
                    self._drop(key)
                    forgotten += 1
        for key in over:
            self._stop_counting(key)
        return forgotten

    def _stop_counting(self, key: Key) -> None:
        """A commit that was reported lost was carried out: what it published is counted as that."""
        with self.turns.of(key):
            row = self._repository.find_upload(*key)
            if key not in self._attempts and (row is None or row.receipt is not None):
                self._release(key)

    def leave(self, attempt: Attempt, cause: ServerError | BadSegment | None = None) -> None:
        """Ends an attempt when its connection ends, or because of `cause`."""
        with self.turns.of(attempt.key):
            self._end(attempt, cause)

    def _end(self, attempt: Attempt, cause: BaseException | None) -> None:
        """Keeps what is staged for the next attempt unless it is worth nothing any more."""
        with self._lock:
            ours = self._attempts.get(attempt.key) is attempt
            if ours:
                del self._attempts[attempt.key]
        attempt.end()
        if not ours:
            return
        self._keep(attempt.key, attempt.request.name, attempt.staged.size)
        # After a failed write or sync nobody knows what is on the disk.
        if isinstance(cause, DigestMismatch | TooLarge | StorageError):
            self.give_up(attempt.key)

    def _take_over(self, key: Key) -> None:
        with self._lock:
            earlier = self._attempts.pop(key, None)
        if earlier is not None:
            earlier.end()
            self._keep(key, earlier.request.name, earlier.staged.size)

    def _keep(self, key: Key, name: str, size: int) -> None:
        self._release(key)
        self._kept[key] = self._receiver.quota.hold(key[0], name, size)

    def _release(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            kept.release()

    def _drop(self, key: Key) -> None:
        row = self._repository.find_upload(*key)
        if row is not None and self._repository.drop_upload(*key):
            self._remove(row)
        self._release(key)

    def _remove(self, row: Upload) -> None:
        self.storage.discard(row.object_id)
        self.storage.remove(row.client_id, row.object_id)

    def receipt_of(self, client: Client, upload_id: bytes) -> Stored | None:
        """The receipt of an upload that was completed before. Raises `RepositoryError`."""
        row = self._repository.find_upload(client.id, upload_id)
        return Stored.unpack(row.receipt) if row and row.receipt else None

    def check_policy(self, client: Client, name: str, policy: Policy, modified: int) -> None:
        """A refusal that is known beforehand costs no transfer; the commit checks again.

        Raises `FileExists` and `RepositoryError`.
        """
        if policy is Policy.ALWAYS:
            return
        present = self._repository.find_file(client.id, name)
        if present is None:
            return
        before = present.received_at * 10**9 if present.modified is None else present.modified
        if policy is Policy.NEVER or modified <= before:
            raise FileExists(f"{name!r} is there already")

    def _row(self, client: Client, request: Begin) -> Upload:
        return Upload(
            client_id=client.id,
            upload_id=request.upload_id,
            object_id=new_object_id(),
            name=request.name,
            size=request.size,
            modified=request.modified,
            mode=request.mode,
            policy=request.policy,
            begun_at=int(self._now()),
        )

    def _publication(self, incoming: Incoming, received: int) -> Publication:
        file = StoredFile(
            client_id=incoming.client.id,
            name=incoming.name,
            object_id=incoming.object_id,
            size=incoming.size,
            cksum=None,
            received_at=received,
            sha256=incoming.sha256,
            modified=incoming.modified,
            mode=incoming.mode,
        )
        return Publication(file, incoming.upload_id, incoming.policy)

    def _sign(self, incoming: Incoming, received: int) -> bytes:
        key = self._receipt_key
        body = ReceiptBody(
            key.public, incoming.client.id, incoming.upload_id, incoming.size,
            received, incoming.sha256, incoming.client.name, incoming.name,
        )  # fmt: skip
        (receipt,) = key.sign([body.pack()])
        return receipt.pack()
