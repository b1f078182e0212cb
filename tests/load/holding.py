"""Very many plain connections in one thread: opened, kept, fed byte by byte, opened again."""

import errno
import itertools
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

_OPENED_AT_ONCE = 200
_LINGER_0 = struct.pack("ii", 1, 0)  # closing sends a reset


@dataclass(slots=True)
class _Held:
    connected: bool = False
    dripped: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """How many connections were opened, how many the server ended, how many were held at most."""

    opened: int
    ended: int
    held: int


class Holding:
    """Holds `count` connections to a port, from each of `sources` in turn.

    Each sends `opening` at once and then a byte of `drip` every `interval` seconds; one that the
    server ends is replaced. With `resets` each is reset as soon as it is there.
    """

    def __init__(
        self,
        port: int,
        sources: Sequence[str],
        count: int,
        *,
        opening: bytes = b"",
        drip: bytes = b"",
        interval: float = 1.0,
        resets: bool = False,
    ) -> None:
        self._port = port
        self._sources = itertools.cycle(sources)
        self._count = count
        self._opening = opening
        self._drip = drip
        self._interval = interval
        self._resets = resets
        self._selector = selectors.DefaultSelector()
        self._held: dict[socket.socket, _Held] = {}
        self._opened = self._ended = self._most = 0

    def run(self, seconds: float) -> Counts:
        """Goes on for so long, then ends every connection."""
        until = time.monotonic() + seconds
        drip_at = time.monotonic() + self._interval
        while time.monotonic() < until:
            for _ in range(min(_OPENED_AT_ONCE, self._count - len(self._held))):
                self._open()
            for key, events in self._selector.select(0.05):
                held = key.fileobj
                assert isinstance(held, socket.socket)
                self._serve(held, events)
            if self._drip and time.monotonic() >= drip_at:
                drip_at += self._interval
                self._drip_all()
        for held in list(self._held):
            self._close(held)
        self._selector.close()
        return Counts(self._opened, self._ended, self._most)

    def _open(self) -> None:
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        held.setblocking(False)
        try:
            held.bind((next(self._sources), 0))
            result = held.connect_ex(("127.0.0.1", self._port))
        except OSError:  # no port is free for the moment
            held.close()
            return
        if result not in (0, errno.EINPROGRESS):
            held.close()
            return
        self._held[held] = _Held()
        self._selector.register(held, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _serve(self, held: socket.socket, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and not self._held[held].connected:
                self._connected(held)
            elif events & selectors.EVENT_READ and not held.recv(65536):
                self._replace(held)
        except BlockingIOError:
            pass
        except OSError:
            self._replace(held)

    def _connected(self, held: socket.socket) -> None:
        self._held[held].connected = True
        self._opened += 1
        self._most = max(self._most, sum(1 for one in self._held.values() if one.connected))
        self._selector.modify(held, selectors.EVENT_READ)
        if self._opening:
            held.send(self._opening)
        if self._resets:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            self._close(held)

    def _drip_all(self) -> None:
        for held, state in list(self._held.items()):
            if state.connected:
                place = state.dripped % len(self._drip)
                state.dripped += 1
                try:
                    held.send(self._drip[place : place + 1])
                except BlockingIOError:
                    pass
                except OSError:
                    self._replace(held)

    def _replace(self, held: socket.socket) -> None:
        self._ended += self._held[held].connected
        self._close(held)

    def _close(self, held: socket.socket) -> None:
        self._selector.unregister(held)
        del self._held[held]
        held.close()
