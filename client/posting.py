"""Many small files at once: sent without waiting for each receipt, bounded in number and bytes."""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from client.errors import ClientError, ConnectionFailed, FileFailed
from client.link import Connection4, Link
from client.receipts import Receipt, ReceiptStore
from client.smallfiles import Group
from protocol.smallfiles import SmallFile

_MOST_FILES = 4096
_MOST_BYTES = 16 << 20


class PutResult(NamedTuple):
    """How one file of many ended: with a receipt or with an error."""

    path: Path
    name: str
    receipt: Receipt | None
    error: ClientError | None


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
        self._group = Group()
        self._waiting: deque[Group] = deque()
        self._posted: deque[Group] = deque()
        self._connection: Connection4 | None = None

    def add(self, path: Path, file: SmallFile, content: bytes) -> None:
        """Sends one more, with others, when the earlier ones leave room; raises `ClientError`."""
        if not self._group.add(path, file, content):
            self._close_group()
            self._advance(_MOST_FILES, _MOST_BYTES)
            self._group.add(path, file, content)

    def finish(self) -> None:
        """Waits until all are done with; raises `ClientError`."""
        if self._group.files:
            self._close_group()
        self._advance(0, 0)

    def _close_group(self) -> None:
        self._waiting.append(self._group)
        self._group = Group()

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
            while self._waiting:
                # Posted from now on, whatever comes of it: after a failure comes a new connection.
                self._posted.append(self._waiting.popleft())
                connection.session.post(self._posted[-1].sealed(connection.access))
            while self._posted and (
                sum(len(group.files) for group in self._posted) > most_files
                or sum(len(group.content) for group in self._posted) > most_bytes
                or connection.session.has_posted()
            ):
                self._take(connection)

    def _outcomes(self, connection: Connection4, group: Group) -> Sequence[Receipt | ClientError]:
        try:
            posted = connection.session.posted()
        except FileFailed as error:  # about the whole message, and so about each of its files
            return [error] * len(group.files)
        return group.check(connection.access, posted)

    def _take(self, connection: Connection4) -> None:
        """The oldest group's answer: its receipts are kept together, and told of then."""
        group = self._posted[0]
        outcomes = self._outcomes(connection, group)
        receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
        stored = iter(self._receipts.store(receipts))
        answered: set[int] = set()
        again: ConnectionFailed | None = None
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, ConnectionFailed):
                again = outcome
                continue
            answered.add(index)
            path, name = group.paths[index], group.files[index].name
            if isinstance(outcome, Receipt):
                self._done(PutResult(path, name, next(stored), None))
            else:
                self._done(PutResult(path, name, None, outcome))
        self._posted.popleft()
        if answered:
            self._backoff.answered()
        if again is not None:
            self._waiting.append(group.without(answered))
            raise again
