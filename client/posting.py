"""Many small files at once: sent without waiting for each receipt, bounded in number and bytes."""

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from client.errors import ClientError, FileFailed
from client.link import Connection4, Link
from client.receipts import Receipt, ReceiptStore
from client.uploading import SmallFile, post, posted

_MOST_FILES = 512
_MOST_BYTES = 8 << 20
# Each send, and each file of receipts, costs about as much as a small file itself.
_SENT_FILES = 32
_SENT_BYTES = 256 << 10
_SETTLED_FILES = 256


@dataclass(frozen=True, slots=True)
class PutResult:
    """How one file of many ended: with a receipt or with an error."""

    path: Path
    name: str
    receipt: Receipt | None
    error: ClientError | None


_File = tuple[Path, SmallFile]


class Posting:
    """Small files on their way; `done` is told of each when it is acknowledged or refused.

    What was sent on a connection that was lost is sent again on the next one, under the same
    upload ids, so that nothing is stored twice.
    """

    def __init__(
        self,
        link: Link,
        receipts: ReceiptStore,
        done: Callable[[PutResult], None],
    ) -> None:
        self._link = link
        self._receipts = receipts
        self._done = done
        self._backoff = link.backoff()
        self._waiting: deque[_File] = deque()
        self._posted: deque[_File] = deque()
        self._answered: list[tuple[Path, SmallFile, Receipt | FileFailed]] = []
        self._bytes = 0
        self._waiting_bytes = 0
        self._connection: Connection4 | None = None

    def add(self, path: Path, small: SmallFile) -> None:
        """Sends one more, when the earlier ones leave room; raises `ClientError`."""
        self._bytes += len(small.content)
        self._waiting_bytes += len(small.content)
        self._waiting.append((path, small))
        if len(self._waiting) >= _SENT_FILES or self._waiting_bytes >= _SENT_BYTES:
            self._advance(_MOST_FILES, _MOST_BYTES)

    def finish(self) -> None:
        """Waits until all are done with; raises `ClientError`."""
        self._advance(0, 0)

    def _advance(self, most_files: int, most_bytes: int) -> None:
        """Sends what waits, and takes answers until no more than this is without one."""
        if self._waiting or self._posted:
            self._link.retrying(lambda: self._advance_once(most_files, most_bytes), self._backoff)

    def _advance_once(self, most_files: int, most_bytes: int) -> None:
        with self._link.use() as connection:
            if connection is not self._connection:
                self._waiting.extendleft(reversed(self._posted))
                self._posted.clear()
                self._connection = connection
            try:
                self._send_waiting(connection)
                while self._posted and (
                    len(self._posted) > most_files
                    or self._bytes > most_bytes
                    or connection.session.has_posted()
                ):
                    self._take(connection)
            except BaseException:  # whatever it was, what has been acknowledged is kept and told
                self._settle()
                raise
            if len(self._answered) >= _SETTLED_FILES or not self._posted:
                self._settle()

    def _send_waiting(self, connection: Connection4) -> None:
        while self._waiting:
            group = list(itertools.islice(self._waiting, _SENT_FILES))
            # Posted from now on, whatever comes of it: a failure is followed by another connection.
            for _ in group:
                self._posted.append(self._waiting.popleft())
            post(connection.session, connection.access, [small for _, small in group])
        self._waiting_bytes = 0

    def _take(self, connection: Connection4) -> None:
        """The oldest one's answer."""
        _, small = self._posted[0]
        outcome: Receipt | FileFailed
        try:
            outcome = posted(connection.session, connection.access, small)
        except FileFailed as error:
            outcome = error
        self._answered.append((*self._posted.popleft(), outcome))
        self._bytes -= len(small.content)
        self._backoff.answered()

    def _settle(self) -> None:
        """Keeps the receipts that have come, together, and tells of them."""
        answered, self._answered = self._answered, []
        receipts = [outcome for *_, outcome in answered if isinstance(outcome, Receipt)]
        stored = iter(self._receipts.store(receipts))
        for path, small, outcome in answered:
            if isinstance(outcome, Receipt):
                self._done(PutResult(path, small.upload.name, next(stored), None))
            else:
                self._done(PutResult(path, small.upload.name, None, outcome))
