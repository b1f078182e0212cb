"""Servers of protocol 4 to run the client against, and a proxy that cuts connections."""

import contextlib
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
    """Passes bytes on to a server; `cuts` says after how many to the server each connection ends.

    Connections beyond those in `cuts` are not cut.
    """

    target: str
    cuts: list[int] = field(default_factory=list)
    to_server: list[int] = field(default_factory=list)
    address: str = ""

    @property
    def total(self) -> int:
        return sum(self.to_server)

    def cut_after(self, *sizes: int) -> None:
        """From the next connection on."""
        self.cuts = [*[1 << 62] * len(self.to_server), *sizes]


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
        number = len(proxy.to_server)
        proxy.to_server.append(0)
        most = proxy.cuts[number] if number < len(proxy.cuts) else 1 << 62
        threading.Thread(target=_forward, args=(proxy, number, most, near, far)).start()
        threading.Thread(target=_back, args=(far, near)).start()


def _forward(proxy: Proxy, number: int, most: int, near: socket.socket, far: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := near.recv(min(1 << 16, most - proxy.to_server[number])):
            far.sendall(data)
            proxy.to_server[number] += len(data)
            if proxy.to_server[number] >= most:
                break
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
