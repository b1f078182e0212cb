"""Small files that come without a gap are made durable together (section 5, *put*)."""

from dataclasses import dataclass

from protocol.messages4 import Stored
from server.attempts import Incoming
from server.errors import ServerError
from server.refusals import Failure
from server.repository import Event
from server.uploading import Uploads

_BATCH_FILES = 1024
_BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a small file of `size` bytes; `size` is 0 where nothing was published."""

    request_id: int
    result: Stored | Failure
    size: int


class SmallFiles:
    """The small files of one connection whose answers wait, in the order in which they came."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._waiting: list[tuple[int, Incoming | Stored | Failure]] = []
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether no more of them should wait."""
        return len(self._waiting) >= _BATCH_FILES or self._bytes >= _BATCH_BYTES

    def add(self, request_id: int, file: Incoming | Stored | Failure, sealed_bytes: int) -> None:
        """Adds a staged file, or what there is to answer where nothing is to be published."""
        self._waiting.append((request_id, file))
        self._bytes += sealed_bytes

    def publish(self, event: Event) -> list[Answer]:
        """Makes what waits durable and visible, all of it or nothing, and tells the answers; the
        `event` tells the audit trail who does it."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        staged = [file for _, file in waiting if isinstance(file, Incoming)]
        outcomes = iter(self._outcomes(staged, event))
        return [
            Answer(request_id, next(outcomes), file.size)
            if isinstance(file, Incoming)
            else Answer(request_id, file, 0)
            for request_id, file in waiting
        ]

    def _outcomes(self, staged: list[Incoming], event: Event) -> list[Stored | ServerError]:
        if not staged:
            return []
        try:
            return self._uploads.publish_together(staged, event)
        except ServerError as error:
            return [error] * len(staged)
