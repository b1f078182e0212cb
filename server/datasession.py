"""One data connection of protocol 4 (section 1.2): sealed segments in, nothing else, no socket."""

import logging
from collections.abc import Iterator

from protocol.decoder4 import FrameDecoder
from protocol.errors import BadSegment, ProtocolError
from protocol.messages4 import DATA_REQUESTS, Done, pack_message
from server.errors import ServerError
from server.openuploads import DataLink, OpenUploads

_log = logging.getLogger(__name__)


class DataSession:
    """Feeds the uploads of a control connection. Used as `server.session4.Session4` is."""

    introduced = True
    has_deferred = False

    def __init__(self, uploads: OpenUploads, link: DataLink, address: str) -> None:
        self._uploads = uploads
        self._link = link
        self._address = address
        self._decoder = FrameDecoder(DATA_REQUESTS)
        self.ended = not uploads.attach(link, pack_message(Done(), 0))
        """Whether the connection must be closed."""

    @property
    def busy(self) -> bool:
        """Whether something is under way that a drain should let finish."""
        return bool(self._uploads or self._link.busy or not self._decoder.between_messages)

    @property
    def between_requests(self) -> bool:
        """Whether the next byte begins a new message."""
        return self._decoder.between_messages

    def is_awaited(self, _seconds: float) -> bool:
        """Whether the connection may stay although nothing has come: while its control connection
        does, which has a time limit of its own."""
        return not self._uploads.closed

    def writable(self) -> memoryview:
        """Where the next bytes of the peer go."""
        return self._decoder.writable()

    def written(self, size: int) -> Iterator[bytes]:
        """Takes what the peer sent into `writable`; nothing is answered here."""
        try:
            for _, segment in self._decoder.written(size):
                self._uploads.take(segment, self._link)
        except (ServerError, ProtocolError) as error:
            # The upload's end is answered with the reason.
            if isinstance(error, BadSegment):
                self._uploads.spoil(error)
            _log.warning("data connection from %s ended: %s", self._address, error)
            self.ended = True
        return iter(())

    def deferred(self, _patience: float | None = None) -> Iterator[bytes]:
        """Nothing: see `has_deferred`."""
        return iter(())

    def farewell(self) -> Iterator[bytes]:
        """Nothing: the control connection tells."""
        return iter(())

    def close(self) -> None:
        """Ends the session; the uploads go on being open on the control connection."""
        self._uploads.detach(self._link)
