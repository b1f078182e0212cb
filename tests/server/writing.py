"""A client that keeps a server busy."""

import threading

from tests.peer4.client import Peer4
from tests.server.running import Running


class Writer:
    """A client that stores, replaces and removes files until it is told to stop."""

    def __init__(self, server: Running) -> None:
        self._peer = Peer4(server.port).open().introduce()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            name = f"changing/{number % 7}"
            self._peer.put(name, b"%d" % number)
            if number % 5 == 0:
                self._peer.remove(name)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._peer.close()
