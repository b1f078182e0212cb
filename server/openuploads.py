"""The uploads that one client has open on a control connection, and its data connection.

Segments come from two threads, that of the control connection and that of the data connection
(section 1.2); everything else comes from the first. An attempt that fails is over at once: what
follows of it is passed over, and its *end* raises why.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from protocol.errors import BadSegment
from protocol.messages4 import Segment
from server.attempts import Attempt
from server.errors import DataConnectionLost, ServerError, StorageFull, UnknownUpload
from server.rates import Rates
from server.uploading import Uploads

_MAX_ATTEMPTS = 4
_FINISH_SECONDS = 5.0

Buffer = bytes | memoryview
Failure = ServerError | BadSegment


class DataLink:
    """A data connection as its control connection sees it."""

    def __init__(
        self,
        send: Callable[[Iterable[Buffer]], None],
        finish: Callable[[], None],
        cut: Callable[[], None],
    ) -> None:
        """`send` sends to the client and raises `OSError`; `finish` ends the connection behind what
        has arrived, and `cut` at once."""
        self._send = send
        self._turn = threading.Lock()
        self.busy = False
        """Whether a download is on its way."""
        self.broken = False
        """Whether a download failed here: nothing may be sent any more, what has come is read."""
        self.finish = finish
        self.cut = cut

    def send(self, parts: Iterable[Buffer]) -> None:
        """Sends to the client, within `sending`; raises `DataConnectionLost`."""
        try:
            with self._turn:
                self._send(parts)
        except OSError as error:
            raise DataConnectionLost(error.strerror or str(error)) from error

    @contextmanager
    def sending(self) -> Iterator[None]:
        """While a download is on its way here, which a drain lets finish; cut when it fails."""
        self.busy = True
        try:
            yield
        except BaseException:  # whatever it was, the client must not wait for the rest
            self.broken = True
            self.cut()
            raise
        finally:
            self.busy = False

    def greet(self, greeting: bytes, taken: Callable[[], bool]) -> bool:
        """Sends `greeting` before anything else, once `taken` says that the connection is wanted;
        whether it is. Raises `OSError`."""
        with self._turn:
            if not taken():
                return False
            self._send([greeting])
            return True


class OpenUploads:
    """Attempts at uploads, by upload id; each ends with `take_out` or when it fails."""

    def __init__(self, uploads: Uploads, rates: Rates, client_id: bytes) -> None:
        self._uploads = uploads
        self._rates = rates
        self._client_id = client_id
        self._changed = threading.Condition()
        self._attempts: dict[bytes, Attempt] = {}
        self._failed: dict[bytes, Failure] = {}
        self._link: DataLink | None = None
        self._closed = False
        self.latest = time.monotonic()
        """When a segment came, on whichever connection."""

    def __bool__(self) -> bool:
        return bool(self._attempts)

    def make_room(self, upload_id: bytes) -> None:
        """Before a new attempt at this upload: ends an earlier one.

        Raises `StorageFull` where no more are allowed at once.
        """
        with self._changed:
            self._failed.pop(upload_id, None)
        self.leave(upload_id)
        if len(self._attempts) >= _MAX_ATTEMPTS:
            raise StorageFull(f"more than {_MAX_ATTEMPTS} uploads at once on one connection")

    def add(self, attempt: Attempt) -> None:
        """Segments may come for it from now on."""
        with self._changed:
            self._attempts[attempt.request.upload_id] = attempt

    def take(self, segment: Segment, link: DataLink | None = None) -> None:
        """Writes a segment that came on the data connection `link`, or on the control connection;
        raises why it is refused, once for each attempt. What is left on a data connection whose
        place another one has taken belongs to earlier attempts."""
        with self._changed:
            attempt = self._attempts.get(segment.upload_id)
            if attempt is None or (link is not None and link is not self._link):
                return
        try:
            self._rates.take(self._client_id, len(segment.sealed))
            attempt.take(segment)
        except (ServerError, BadSegment) as error:
            self._fail(attempt, error)
            raise
        finally:
            with self._changed:
                self.latest = time.monotonic()
                self._changed.notify_all()

    def spoil(self, error: BadSegment) -> None:
        """Ends all attempts that wait for segments: what came in place of one is none at all."""
        with self._changed:
            waiting = [each for each in self._attempts.values() if not each.all_there]
        for attempt in waiting:
            self._fail(attempt, error)

    def take_out(self, upload_id: bytes, patience: float) -> Attempt:
        """The attempt, to be finished, once all its segments have come or none has for `patience`
        seconds. Raises why it failed, and `UnknownUpload`."""
        with self._changed:
            while not self._is_settled(upload_id) and self._changed.wait(patience):
                pass
            failure = self._failed.pop(upload_id, None)
            attempt = self._attempts.pop(upload_id, None)
        if failure is not None:
            raise failure
        if attempt is None:
            raise UnknownUpload("it was not begun here")
        return attempt

    def leave(self, upload_id: bytes) -> None:
        """Ends an attempt, if there is one; what it has received stays for the next one."""
        with self._changed:
            attempt = self._attempts.pop(upload_id, None)
        if attempt is not None:
            self._uploads.leave(attempt)

    def attach(self, link: DataLink, greeting: bytes) -> bool:
        """Takes a data connection, in place of an earlier one, and greets the client on it; False
        when it comes too late. Raises `OSError`."""

        def taken() -> bool:
            with self._changed:
                if self._closed:
                    return False
                earlier, self._link = self._link, link
            if earlier is not None:
                earlier.cut()
            return True

        # The client may ask for content as soon as it is greeted, and gets none before.
        try:
            return link.greet(greeting, taken)
        except OSError:
            self.detach(link)
            raise

    def detach(self, link: DataLink) -> None:
        """The data connection has ended: nobody need wait for it any more."""
        with self._changed:
            if self._link is link:
                self._link = None
            self._changed.notify_all()

    @property
    def link(self) -> DataLink | None:
        """The data connection that content may be sent on, if there is one."""
        link = self._link
        # The thread that reads from a broken one may not have seen its end yet.
        return None if link is None or link.broken else link

    @property
    def closed(self) -> bool:
        """Whether the control connection has ended."""
        return self._closed

    def close(self) -> None:
        """The control connection ends, and with it all attempts and the data connection."""
        with self._changed:
            self._closed = True
            link = self._link
        if link is not None:
            # A client that is gone has sent what is still on its way: that need not come again.
            link.finish()
            with self._changed:
                self._changed.wait_for(lambda: self._link is None, _FINISH_SECONDS)
            link.cut()
        for upload_id in list(self._attempts):
            self.leave(upload_id)

    def _is_settled(self, upload_id: bytes) -> bool:
        attempt = self._attempts.get(upload_id)
        return attempt is None or attempt.all_there or self._link is None

    def _fail(self, attempt: Attempt, error: Failure) -> None:
        upload_id = attempt.request.upload_id
        with self._changed:
            if self._attempts.get(upload_id) is not attempt:
                return
            del self._attempts[upload_id]
            self._failed[upload_id] = error
            if len(self._failed) > _MAX_ATTEMPTS:  # their ends were never sent
                del self._failed[next(iter(self._failed))]
        self._uploads.leave(attempt, error)
