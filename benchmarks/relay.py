"""A relay on the loopback address that counts what clients send to a server."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.peers.tool import HOST, Ports

_PIECE_BYTES = 256 * 1024


class Relay:
    """Counts bytes from clients to the server, over all connections since it was made."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._to_server = 0
        self._open: set[socket.socket] = set()
        self._held_at: int | None = None

    @property
    def to_server(self) -> int:
        """Bytes that clients have sent so far."""
        return self._to_server

    def hold_at(self, size: int) -> None:
        """Takes no more from clients once they have sent `size` bytes, until `release`.

        What a connection's next piece is may still pass: at most 256 KiB of each.
        """
        with self._changed:
            self._held_at = size

    def release(self) -> None:
        """Passes on what clients have sent since it was held."""
        with self._changed:
            self._held_at = None
            self._changed.notify_all()

    def wait_for(self, size: int, seconds: float) -> bool:
        """Waits until clients have sent `size` bytes; False when they have not in this time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._to_server >= size, seconds)

    def wait_until_idle(self, seconds: float) -> bool:
        """Waits until no connection is open; False when one still is after this time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, seconds)

    def join(self, near: socket.socket, far: socket.socket) -> None:
        """Passes bytes on between a client and the server until both directions have ended."""
        with self._changed:
            self._open |= {near, far}
        back = threading.Thread(target=self._pass_on, args=(far, near), daemon=True)
        back.start()
        self._pass_on(near, far, counted=True)
        back.join()
        with self._changed:
            self._open -= {near, far}
            self._changed.notify_all()
        near.close()
        far.close()

    def _count(self, size: int) -> None:
        with self._changed:
            self._to_server += size
            self._changed.notify_all()
            self._changed.wait_for(self._may_go_on)

    def _may_go_on(self) -> bool:
        return self._held_at is None or self._to_server < self._held_at

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, *, counted: bool = False
    ) -> None:
        buffer = memoryview(bytearray(_PIECE_BYTES))
        with contextlib.suppress(OSError):
            while size := source.recv_into(buffer):
                sink.sendall(buffer[:size])
                if counted:
                    self._count(size)
        # Both ways: a client that was killed takes no answers any more.
        for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(how)


@contextmanager
def relaying(ports: Ports) -> Iterator[Relay]:
    """A relay from the client's port to the server's."""
    relay = Relay()
    with socket.create_server((HOST, ports.client)) as listening:
        accepting = threading.Thread(target=_accept, args=(relay, listening, ports), daemon=True)
        accepting.start()
        yield relay
        listening.shutdown(socket.SHUT_RDWR)
        accepting.join()


def _accept(relay: Relay, listening: socket.socket, ports: Ports) -> None:
    while True:
        try:
            near, _ = listening.accept()
        except OSError:
            return  # the relay ends
        try:
            far = socket.create_connection((HOST, ports.server))
        except OSError:
            near.close()
            continue
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=relay.join, args=(near, far), daemon=True).start()
