"""One line in the log for each request that one connection made."""

import logging
import time

_log = logging.getLogger("server.requests")


class RequestLog:
    """Tells what came of the requests of a connection, one after the other."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._began = time.monotonic()

    def begin(self) -> None:
        """The request begins of which `tell` tells how long it took."""
        self._began = time.monotonic()

    def tell(
        self,
        request: str,
        generation: str,
        client_id: bytes | None,
        failure: Exception | None,
        size: int,
        files: int | None = None,
    ) -> None:
        """One line: the message's name, who sent it, and how it ended; `size` is the bytes of its
        content, `files` how many small files were stored together."""
        extra: dict[str, object] = {
            "address": self._address,
            "client": client_id.hex() if client_id else "",
            "request": request,
            "generation": generation,
            "outcome": "ok" if failure is None else type(failure).__name__,
            **({} if files is None else {"files": files}),
            "bytes": size,
            "seconds": round(time.monotonic() - self._began, 6),
        }
        if failure is not None:
            extra["cause"] = str(failure)
        _log.log(logging.INFO if failure is None else logging.WARNING, "request", extra=extra)

    def tell_broken(self, error: Exception) -> None:
        """One line for what was no request at all."""
        _log.warning("broken request", extra={"address": self._address, "cause": str(error)})
