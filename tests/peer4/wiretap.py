"""Somebody on the path between a client and the server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager


class Wiretap:
    """Sits between a client and the server; `seen` is all that it saw, `flip` alters one byte."""

    def __init__(self, port: int, flip: int | None = None) -> None:
        self.seen = bytearray()
        self._port = port
        self._flip = flip
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        client, _ = self._listening.accept()
        server = socket.create_connection(("127.0.0.1", self._port))
        with client, server:
            back = threading.Thread(target=self._pass, args=(server, client, None))
            back.start()
            self._pass(client, server, self._flip)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket, flip: int | None) -> None:
        passed = 0
        try:
            while data := bytearray(source.recv(65536)):
                self.seen += data
                if flip is not None and passed <= flip < passed + len(data):
                    data[flip - passed] ^= 1
                passed += len(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, target):
                with closing(end):
                    pass

    def end(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._listening.close()


@contextmanager
def tapped(port: int, flip: int | None = None) -> Iterator[Wiretap]:
    """A tap before this port for one connection, which must have ended with the context."""
    tap = Wiretap(port, flip)
    try:
        yield tap
    finally:
        tap.end()
