"""Servers of protocol 4 to run the client against, and a proxy that cuts connections."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from server.config import Config
from server.serving import listening


@dataclass
class Server4:
    """A running server; `address` is HOST:PORT."""

    address: str
    fingerprint: str
    data: Path


@contextmanager
def serving(data: Path, **settings: object) -> Iterator[Server4]:
    """A server with its data there, which anybody may register at."""
    data.mkdir(parents=True, exist_ok=True)
    values: dict[str, object] = {
        "port": 0,
        "data": data,
        "registration": "open",
        "min_free_bytes": 0,
    }
    config = Config(**(values | settings))  # type: ignore[arg-type]
    with listening(config) as listener:
        thread = threading.Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        try:
            certificate = str(listener.doors.certificate)
            yield Server4(f"127.0.0.1:{listener.port}", certificate, data)
        finally:
            listener.drain(lambda: True)
            thread.join()


@dataclass
class Proxy:
    """Passes bytes on to a server, and cuts all connections after so many bytes to the server."""

    target: str
    address: str = ""
    total: int = 0
    """Bytes to the server, on all connections together."""
    cuts: list[int] = field(default_factory=list)
    """The totals at which everything is cut that is connected then, the smallest first."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    ends: list[socket.socket] = field(default_factory=list)

    def cut_after(self, *sizes: int) -> None:
        """From now on: after so many bytes, then after so many more."""
        with self.lock:
            self.cuts = list(itertools.accumulate(sizes, initial=self.total))[1:]

    def connected(self, *ends: socket.socket) -> None:
        """These two belong together, and to what is cut next."""
        with self.lock:
            self.ends += ends

    def allowed(self, size: int) -> int:
        """Takes note of as many bytes of these as may pass before the next cut."""
        with self.lock:
            passes = min(size, self.cuts[0] - self.total) if self.cuts else size
            self.total += passes
            return passes

    def cut_if_due(self) -> None:
        """Ends every connection when it is time."""
        with self.lock:
            if not self.cuts or self.total < self.cuts[0]:
                return
            del self.cuts[0]
            ends, self.ends = self.ends, []
        _end(*ends)


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    """A proxy in front of the server at `target`, HOST:PORT."""
    proxy = Proxy(target)
    with socket.create_server(("127.0.0.1", 0)) as listening_socket:
        proxy.address = f"127.0.0.1:{listening_socket.getsockname()[1]}"
        threading.Thread(target=_accept, args=(proxy, listening_socket), daemon=True).start()
        yield proxy
        with contextlib.suppress(OSError):
            listening_socket.shutdown(socket.SHUT_RDWR)


def _accept(proxy: Proxy, listening_socket: socket.socket) -> None:
    host, _, port = proxy.target.rpartition(":")
    while True:
        try:
            near, _ = listening_socket.accept()
            far = socket.create_connection((host, int(port)))
        except OSError:
            return
        proxy.connected(near, far)
        threading.Thread(target=_forward, args=(proxy, near, far)).start()
        threading.Thread(target=_back, args=(far, near)).start()


def _forward(proxy: Proxy, near: socket.socket, far: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := near.recv(1 << 16):
            far.sendall(data[: proxy.allowed(len(data))])
            proxy.cut_if_due()
    _end(near, far)


def _back(far: socket.socket, near: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := far.recv(1 << 16):
            near.sendall(data)
    _end(near, far)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
