"""A TLS connection as the channel of protocol-4 messages.

The socket never blocks in a call: while a message is being sent, answers that arrive are taken.
Otherwise both sides could wait for the other one to read, forever: the server stops reading while
its answers are not taken.
"""

import contextlib
import select
import ssl
from collections import deque
from collections.abc import Iterator

from client.errors import BrokenProtocol, ConnectionLost, ServerSilent
from client.rate import RateLimit
from protocol.decoder4 import FrameDecoder
from protocol.errors import ProtocolError
from protocol.fields import Buffer
from protocol.messages4 import RESPONSES, Content, Response4

_MAX_EARLY_ANSWERS = 4096
_MAX_EARLY_BYTES = 16 << 20

Answer = tuple[int, Response4]
"""A request id and the response to it."""


class Channel4:
    """Messages out, answers in, over a TLS socket whose handshake and checks are done.

    Sending and receiving wait `timeout` seconds at most for the peer to take or to send anything.
    """

    def __init__(self, tls: ssl.SSLSocket, timeout: float, limit: RateLimit | None = None) -> None:
        tls.setblocking(False)
        self._tls = tls
        self._timeout = timeout
        self._limit = limit
        self._decoder: FrameDecoder[Response4] = FrameDecoder(RESPONSES)
        self._decoding: Iterator[Answer] = iter(())
        self._early: deque[Answer] = deque()
        self._early_bytes = 0

    def send(self, *parts: Buffer) -> None:
        """Sends all parts, which may be reused afterwards; raises `ConnectionLost`.

        Raises `BrokenProtocol` when the server sends what cannot be an answer.
        """
        self._take_early()
        for part in parts:
            rest = memoryview(part)
            while rest:
                sent = self._send_some(rest)
                rest = rest[sent:]
                if sent and self._limit:
                    self._limit.spend(sent)

    @property
    def peer(self) -> tuple[str, int]:
        """The server's own address and port; raises `ConnectionLost`."""
        try:
            host, port = self._tls.getpeername()[:2]
        except OSError as error:
            raise _lost(error) from error
        return host, port

    def receive(self) -> Answer:
        """The next answer. Sealed content in it is valid until the next call.

        Raises `ConnectionLost`, also when the server ends the connection, and `BrokenProtocol`.
        """
        if self._early:
            earliest = self._early.popleft()
            if not self._early:
                self._early_bytes = 0
            return earliest
        while True:
            answer = self._decoded()
            if answer is not None:
                return answer
            size = self._read()
            if size is None:
                self._wait(select.POLLIN, "answered")
                continue
            self._decoding = self._decoder.written(size)
            if self._limit:
                self._limit.spend(size)

    def has_answer(self, within: float = 0.0) -> bool:
        """Whether the next answer is there already, or comes within so many seconds.

        Raises what `receive` raises.
        """
        self._take_early()
        if within and not self._early and self._more_within(within):
            self._take_early()
        return bool(self._early)

    def close(self) -> None:
        """Ends the connection; may be called again."""
        with contextlib.suppress(OSError, ValueError):
            # close_notify is sent and the server's is not waited for: it may never come.
            self._tls.unwrap()
        self._tls.close()

    def _send_some(self, data: memoryview) -> int:
        if self._limit:
            data = data[: self._limit.burst_bytes]
        try:
            return self._tls.send(data)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._wait(select.POLLIN | select.POLLOUT, "taken any data")
            self._take_early()
            return 0
        except OSError as error:
            raise _lost(error) from error

    def _take_early(self) -> None:
        """Takes the answers that have arrived, without waiting."""
        while True:
            while (answer := self._decoded()) is not None:
                # Content is a view that would not outlive the next read, and nobody asked for it.
                if (
                    isinstance(answer[1], Content)
                    or len(self._early) >= _MAX_EARLY_ANSWERS
                    or self._early_bytes > _MAX_EARLY_BYTES
                ):
                    raise BrokenProtocol("the server sent what it was not asked for")
                self._early.append(answer)
            try:
                size = self._read()
            except ConnectionLost:
                if self._early:
                    return  # what the server said before it ended the connection comes first
                raise
            if size is None:
                return
            self._early_bytes += size
            self._decoding = self._decoder.written(size)

    def _decoded(self) -> Answer | None:
        try:
            return next(self._decoding, None)
        except ProtocolError as error:
            raise BrokenProtocol(f"the server breaks protocol 4: {error}") from error

    def _read(self) -> int | None:
        """How many bytes the decoder got; None when there are none yet."""
        buffer = self._decoder.writable()
        try:
            size = self._tls.recv_into(buffer[: self._limit.burst_bytes] if self._limit else buffer)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            raise _lost(error) from error
        if not size:
            raise ConnectionLost("the server closed the connection")
        return size

    def _wait(self, events: int, what: str) -> None:
        if not self._more_within(self._timeout, events):
            raise ServerSilent(f"the server has not {what} in {self._timeout:g} s")

    def _more_within(self, seconds: float, events: int = select.POLLIN) -> bool:
        poll = select.poll()  # select() cannot look at descriptors beyond 1023
        poll.register(self._tls, events)
        return bool(poll.poll(seconds * 1000))


def _lost(error: OSError) -> ConnectionLost:
    if isinstance(error, ssl.SSLEOFError):
        # Truncation: TLS says farewell before a clean end (specification, section 1).
        return ConnectionLost("the connection was cut off")
    return ConnectionLost(f"the connection was lost: {error.strerror or error}")
