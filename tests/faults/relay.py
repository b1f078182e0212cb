"""A relay on loopback between clients and a server, which fails at a chosen byte.

It passes on any number of connections, knows nothing of what they carry, and counts what clients
send over all of them together. One thread serves them all, so that nothing moves while the action
of a trigger runs: it sees a network that stands still at exactly that byte.
"""

import array
import contextlib
import fcntl
import selectors
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PIECE_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 18
_UNSENT = 0x894B  # SIOCOUTQNSD, Linux: what the kernel holds and has not handed to the network
_POLL_SECONDS = 0.02

Action = Callable[[], None]


class Link:
    """One connection through the relay: `near` is the client's side, `far` the server's."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near = near
        self.far = far
        self._taken = 0
        self.pending: dict[socket.socket, memoryview] = {}
        """What is still to be handed to each side."""
        self.ended: set[socket.socket] = set()
        """Sides that will send nothing more."""
        self.is_open = True
        self.is_swallowed = False

    @property
    def sent(self) -> int:
        """Bytes that the client has sent as far as the relay, read by it or not."""
        left = _unread(self.near) if self.is_open and self.is_swallowed else 0
        return self._taken + left

    def take(self, size: int) -> None:
        """Counts bytes that the client sent."""
        self._taken += size

    def other(self, side: socket.socket) -> socket.socket:
        return self.far if side is self.near else self.near

    def unread_by_server(self) -> int:
        """Bytes on this machine that the server's process has not read yet."""
        if not self.is_open:
            return 0
        unsent = array.array("i", [0])
        fcntl.ioctl(self.far, _UNSENT, unsent)
        held = len(self.pending.get(self.far, b""))
        return held + unsent[0] + _receive_queue(self.far.getpeername(), self.far.getsockname())


class Relay:
    """What passes between clients and the server on `target`, a port of 127.0.0.1."""

    def __init__(self, listening: socket.socket, target: int) -> None:
        self.target = target
        self.port: int = listening.getsockname()[1]
        self.links: list[Link] = []
        """Every connection since `restart`, in the order in which they came."""
        self._listening = listening
        self._selector = selectors.DefaultSelector()
        self._trigger: tuple[int, Action] | None = None
        self._at_request: tuple[int, Action] | None = None
        self.requests = 0
        """Pieces that came from clients since `restart`: where each waits for its answer before it
        sends on, these are its requests."""
        self.cuts = 0
        """How often `cut_at_request` has cut."""
        self.piece_bytes = _PIECE_BYTES
        """The most that is passed on at once, in either direction."""
        self.delay_seconds = 0.0
        """How long everything waits whenever something came from a client."""
        self._stopping = False
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def sent(self) -> int:
        """Bytes that clients have sent since `restart`, over all connections."""
        return sum(link.sent for link in self.links)

    def restart(self, position: int | None = None, action: Action = lambda: None) -> None:
        """Ends what is open and counts from nought; `action` runs, once, in the relay's thread
        when clients have sent `position` bytes and all of them have been passed on."""
        with self._lock:
            for link in self.links:
                self.drop(link)
            self.links.clear()
            self.requests = 0
            self._at_request = None
            self._trigger = None if position is None else (position, action)

    def cut_at_request(self, number: int, *, delivered: bool) -> None:
        """Resets every connection at this request, counted from 1 from now on: before it has
        reached the server, or before its answer has reached the client. 0 stands for none."""

        def cut() -> None:
            self.cuts += 1
            self.reset_all()

        with self._lock:
            self.requests = 0
            if not number:
                self._at_request = None
            elif delivered:
                self._at_request = number, lambda: self._arm(cut)
            else:
                self._at_request = number, cut

    def _arm(self, action: Action) -> None:
        self._trigger = self.sent, action

    def interrupt(self, action: Action) -> None:
        """Does something now, while nothing moves."""
        with self._lock:
            action()

    @property
    def triggered(self) -> bool:
        """Whether the action, if there was one, has run."""
        return self._trigger is None

    # What an action may do

    def reset_all(self) -> None:
        """Both sides of every connection see a reset."""
        for link in self.links:
            if link.is_open:
                self._reset(link)

    def swallow_all(self) -> None:
        """From here on nothing moves on the connections there are, and nobody is told."""
        for link in self.links:
            if link.is_open:
                link.is_swallowed = True
                self._forget(link)

    def unread_by_server(self) -> int:
        """What is under way to the server, over all connections."""
        return sum(link.unread_by_server() for link in self.links)

    def drop(self, link: Link) -> None:
        """Ends a connection; what the client sent and nobody read counts as sent."""
        if link.is_open:
            link.is_open = False
            self._forget(link)
            link.take(_unread(link.near))
            link.near.close()
            link.far.close()

    # The relay's thread

    def serve(self) -> None:
        """Passes bytes on until `stop`."""
        self._selector.register(self._listening, selectors.EVENT_READ, None)
        while not self._stopping:
            events = self._selector.select(_POLL_SECONDS)
            with self._lock:
                for key, ready in events:
                    if key.data is None:
                        self._accept()
                    elif key.data.is_open and not key.data.is_swallowed:
                        self._move(key.data, key.fileobj, ready)  # type: ignore[arg-type] # a socket
        for link in self.links:
            self.drop(link)
        self._selector.close()

    def stop(self) -> None:
        self._stopping = True

    def _accept(self) -> None:
        near, _ = self._listening.accept()
        far = socket.socket()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        try:
            far.connect(("127.0.0.1", self.target))
        except OSError:
            near.close()
            far.close()
            return
        link = Link(near, far)
        for side in (near, far):
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(side, selectors.EVENT_READ, link)
        self.links.append(link)

    def _move(self, link: Link, side: socket.socket, ready: int) -> None:
        try:
            if ready & selectors.EVENT_WRITE:
                self._hand_over(link, side)
            elif ready & selectors.EVENT_READ and side not in link.ended:
                self._take(link, side)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._reset(link)
        pulled = self._pull_trigger()
        for one in self.links if pulled else [link]:
            if one.is_open and not one.is_swallowed:
                self._watch(one)

    def _take(self, link: Link, side: socket.socket) -> None:
        most = self.piece_bytes
        if side is link.near and self._trigger is not None:
            most = min(most, self._trigger[0] - self.sent)
            if not most:
                return  # the network stands still until what came before has been passed on
        data = side.recv(most)
        if not data:
            link.ended.add(side)
            if len(link.ended) == 2:
                self.drop(link)
            else:
                link.other(side).shutdown(socket.SHUT_WR)
            return
        if side is link.near:
            link.take(len(data))
            time.sleep(self.delay_seconds)
            self.requests += 1
            if self._at_request is not None and self.requests >= self._at_request[0]:
                _, action = self._at_request
                self._at_request = None
                action()
                if not link.is_open:
                    return
        link.pending[link.other(side)] = memoryview(data)
        self._hand_over(link, link.other(side))

    def _hand_over(self, link: Link, side: socket.socket) -> None:
        rest = link.pending[side]
        try:
            rest = rest[side.send(rest) :]
        except BlockingIOError:
            return
        if rest:
            link.pending[side] = rest
        else:
            del link.pending[side]

    def _reset(self, link: Link) -> None:
        linger = struct.pack("ii", 1, 0)
        for side in (link.near, link.far):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.drop(link)

    def _pull_trigger(self) -> bool:
        if self._trigger is None or self.sent < self._trigger[0]:
            return False
        if any(link.far in link.pending for link in self.links if link.is_open):
            return False
        _, action = self._trigger
        self._trigger = None
        action()
        return True

    def _watch(self, link: Link) -> None:
        """Reads from a side only while there is nothing left to hand to the other one."""
        for side in (link.near, link.far):
            events = selectors.EVENT_WRITE if side in link.pending else 0
            if side not in link.ended and link.other(side) not in link.pending:
                events |= selectors.EVENT_READ
            self._set_events(side, events, link)

    def _set_events(self, side: socket.socket, events: int, link: Link) -> None:
        registered = self._selector.get_map().get(side)
        if registered is None:
            if events:
                self._selector.register(side, events, link)
        elif not events:
            self._selector.unregister(side)
        elif registered.events != events:
            self._selector.modify(side, events, link)

    def _forget(self, link: Link) -> None:
        for side in (link.near, link.far):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(side)


@contextmanager
def relay_to(target: int) -> Iterator[Relay]:
    """A relay in front of the server on this port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # Fixed, so that what may be under way does not grow with the kernel's tuning.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        relay = Relay(listening, target)
        thread = threading.Thread(target=relay.serve, name="relay")
        thread.start()
        try:
            yield relay
        finally:
            relay.stop()
            thread.join()


def _unread(side: socket.socket) -> int:
    count = array.array("i", [0])
    with contextlib.suppress(OSError):
        fcntl.ioctl(side, termios.FIONREAD, count)
    return count[0]


def _receive_queue(local: tuple[str, int], remote: tuple[str, int]) -> int:
    """Bytes that the kernel holds for the process whose connection has these two ends."""
    ends = [f"{_hex_address(local)}", f"{_hex_address(remote)}"]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        fields = line.split()
        if fields[1:3] == ends:
            return int(fields[4].partition(":")[2], 16)
    return 0


def _hex_address(address: tuple[str, int]) -> str:
    return f"{int.from_bytes(socket.inet_aton(address[0]), 'little'):08X}:{address[1]:04X}"
