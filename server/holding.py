"""While a server runs, or a command that must be alone: the database is held, and who has taken it
over is noticed."""

import logging
import threading

from server.errors import ServerError
from server.repository import Repository

_log = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0
"""How long a database that was restarted stays open to another server; and far less than it, or a
proxy before it, leaves a connection idle."""
_END_SECONDS = 5.0


class Holding:
    """Takes hold of the database again when the connection is lost that it was held by."""

    def __init__(self, repository: Repository, *, every_seconds: float = _EVERY_SECONDS) -> None:
        self._repository = repository
        self._every_seconds = every_seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._keep_on, name="holding", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it; the repository, closed, lets go of the database."""
        self._end.set()
        # A database that does not answer may keep it longer, and nothing hangs on it any more.
        self._thread.join(_END_SECONDS)

    def _keep_on(self) -> None:
        told: type[ServerError] | None = None
        while not self._end.wait(self._every_seconds):
            try:
                self._repository.keep_hold()
            except ServerError as error:
                if self._repository.taken_over:
                    return
                if told is not type(error):
                    _log.warning("looking whether the database is still held: %s", error)
                told = type(error)
            else:
                told = None
